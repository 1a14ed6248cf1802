"""Pseudo-masks: the regions of a classical segmentation of a photo, at several scales.

Felzenszwalb and Huttenlocher 2004 ("Efficient graph-based image segmentation"), as scikit-image
has it. The regions follow edges and cost nothing but time; they are kept on disk between runs.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mobilesam.errors import MissingDependencyError
from mobilesam.files import written_whole
from mobilesam.training.samples import Pixels
from mobilesam.training.sources import RegionPhoto, TrainingPhoto

_SIDE = 400  # photos are reduced to it: large regions do not need more, and it is quicker
_SMALLEST = 0.002  # of the photo; smaller regions are merged into their neighbours


def region_photo(photo: TrainingPhoto, scales: Sequence[float], cache: Path) -> RegionPhoto:
    """A photo with one layer of regions for each scale.

    Args:
        photo: to segment, unless that was done before.
        scales: Felzenszwalb's scale; larger gives larger regions.
        cache: folder for what was computed.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    pixels = photo.pixels()
    key = hashlib.sha256(pixels.tobytes() + repr((tuple(scales), _SIDE, _SMALLEST)).encode())
    path = cache / f"{key.hexdigest()[:24]}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            np.savez_compressed(temporary, labels=_segment(pixels, scales))
    return RegionPhoto(photo, path)


def _segment(photo: Pixels, scales: Sequence[float]) -> np.ndarray:
    """Label images [scales, h, w] uint16 of a reduced photo."""
    try:
        from skimage.segmentation import felzenszwalb
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'regions need scikit-image: pip install "mobilesam-export[train]", or set '
            "sources.regions to 0 in every stage"
        ) from None
    factor = min(1.0, _SIDE / max(photo.shape[:2]))
    size = (max(1, round(photo.shape[1] * factor)), max(1, round(photo.shape[0] * factor)))
    small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
    smallest = max(20, int(_SMALLEST * small.shape[0] * small.shape[1]))
    stack = [felzenszwalb(small, scale=scale, sigma=0.8, min_size=smallest) for scale in scales]
    return np.stack(stack).astype(np.uint16)
