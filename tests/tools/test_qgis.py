"""What QGIS itself makes of maps and polygons; skipped where it is not installed (Debian's python3-qgis)."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from rasterio.crs import CRS

from data_prep.geotiff import Georeference
from inference.map_rasters import MapRaster, RasterContent, attributes_path, attributes_xml
from tests.datasets import LAND
from tests.tools.test_polygons import UTM

PYTHON = "/usr/bin/python3"  # QGIS is one of the distribution's own packages
IMPORT = [PYTHON, "-c", "import qgis.core"]
has_qgis = shutil.which(PYTHON) and subprocess.run(IMPORT, capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not has_qgis, reason="python3-qgis is not installed: QGIS shows nothing here")

# Opens a raster and a layer of polygons as a project does; prints what the legend shows of them, and the
# colours in the middle of the raster's pixels where both are drawn, 10 dots to a pixel.
SHOW = """
import json, sys
from qgis.core import (
    QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsProject, QgsRasterLayer, QgsVectorLayer
)
from qgis.PyQt.QtCore import QSize
application = QgsApplication([], False)
application.initQgis()
raster = QgsRasterLayer(sys.argv[1], "map")
assert raster.isValid(), raster.error().message()
polygons = QgsVectorLayer(sys.argv[2] + "|layername=polygons", "polygons")
assert polygons.isValid()
def drawn(layer):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setExtent(raster.extent())
    settings.setDestinationCrs(raster.crs())
    settings.setOutputSize(QSize(10 * raster.width(), 10 * raster.height()))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    return [
        [image.pixelColor(10 * x + 5, 10 * y + 5).name() for x in range(raster.width())]
        for y in range(raster.height())
    ]
shown = {
    "drawn": [drawn(raster), drawn(polygons)],
    "raster": [raster.renderer().type()]
    + [[int(each.value), each.label, each.color.name()] for each in raster.renderer().classes()],
    "polygons": [polygons.renderer().type(), polygons.renderer().classAttribute()]
    + [
        [int(each.value()), each.label(), each.symbol().color().name()]
        for each in polygons.renderer().categories()
    ],
    "areas": [feature["hectares"] for feature in polygons.getFeatures()],
}
print(json.dumps(shown))
"""


def test_legend_and_drawing_have_the_classes_names_and_colours(tmp_path, run_tool):
    labels = np.array([[0, 0, 1], [3, 255, 1]], np.uint8)
    raster, polygons = tmp_path / "7_mask.tif", tmp_path / "maps.gpkg"
    place = Georeference(CRS.from_user_input(UTM["crs"]), UTM["transform"], ([], None), None)
    file = MapRaster(raster, labels.shape, place, RasterContent(["class"], LAND.palette))
    file.write(labels[None])
    file.close()
    attributes_path(raster).write_text(attributes_xml(LAND.class_names, LAND.palette))
    done = run_tool("polygons.py", raster, "--out", polygons, "--dataset", "deepglobe_land")
    assert done.returncode == 0, done.stderr
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GDAL", "PROJ"))
    }
    shown = subprocess.run(
        [PYTHON, "-c", SHOW, raster, polygons],
        capture_output=True,
        text=True,
        env=clean | {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)},
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    classes = [
        [number, name, "#{:02x}{:02x}{:02x}".format(*LAND.palette[number])]
        for number, name in enumerate(LAND.class_names)
    ]
    assert found["raster"][0] == "paletted"
    assert found["raster"][1:][: len(classes)] == classes
    assert found["polygons"] == ["categorizedSymbol", "class", *classes]
    assert sorted(np.round(found["areas"], 4)) == [0.01, 0.02, 0.02]
    colours = [[classes[label][2] if label < 255 else "#ffffff" for label in row] for row in labels]
    assert found["drawn"] == [colours, colours]
