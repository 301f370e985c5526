"""More than 8 bits a channel to the 0-255 that the net was trained on: a linear stretch, stated."""

from dataclasses import dataclass

import numpy as np

PERCENTILES = (2, 98)  # of the valid pixels of each band


@dataclass(frozen=True)
class Stretch:
    """For each band the values that become 0 and 255; what lies outside is clipped."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, pixels: np.ndarray, valid: np.ndarray) -> "Stretch":
        """Return that from the 2nd to the 98th percentile of `pixels` (h, w, C) where `valid` (h, w)."""
        sample = pixels[valid].astype(np.float64)
        sample = sample[np.isfinite(sample).all(axis=-1)]
        if not len(sample):
            return cls((0.0,) * pixels.shape[-1], (1.0,) * pixels.shape[-1])
        low, high = np.percentile(sample, PERCENTILES, axis=0)
        return cls(tuple(low.tolist()), tuple(high.tolist()))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return (h, w, C) float32 in 0-255."""
        low = np.asarray(self.low, np.float32)
        span = np.asarray(self.high, np.float32) - low
        span[span <= 0] = 1  # a band with one value alone
        return np.clip((pixels.astype(np.float32) - low) * (np.float32(255) / span), 0, 255)

    def text(self) -> str:
        """Say what becomes 0 and 255, band by band."""
        pairs = zip(self.low, self.high, strict=True)
        return ", ".join(f"{low:g} to {high:g}" for low, high in pairs)
