"""Class rasters to sample, written with rasterio alone."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

UTM = "EPSG:32633"


def write_class_raster(
    path: Path, labels: np.ndarray, crs: str | None = UTM, pixel: float = 10.0, north: float = 5_000_000.0
) -> Path:
    """Write labels as a GeoTIFF, its upper left corner at x = 500,000 (15 degrees in a geographic CRS)."""
    west = 15.0 if crs == "EPSG:4326" else 500_000.0
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "crs": crs}
    shape = {"height": labels.shape[0], "width": labels.shape[1]}
    with rasterio.open(
        path, "w", transform=from_origin(west, north, pixel, pixel), **profile, **shape
    ) as file:
        file.write(labels, 1)
    return path


def random_labels(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return labels of classes 0 to 3 in different amounts, and of no class."""
    return np.random.default_rng(seed).choice(
        np.array([0, 1, 2, 3, 255], np.uint8), shape, p=[0.1, 0.5, 0.3, 0.02, 0.08]
    )
