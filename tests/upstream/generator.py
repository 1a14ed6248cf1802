"""Upstream's automatic mask generation around a model of ours, however small.

Its own predictor takes upstream's model alone, with a grid of 64 x 64. Given ours in its place, all
that is asked about is what it does with points and masks.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy import ndimage

from mobilesam import Predictor
from mobilesam.inference.transforms import MASK_THRESHOLD
from mobilesam.model.sam import MobileSAM
from tests.upstream.oracle import import_upstream


class _Predictor:
    """Our predictor, spoken to as upstream's."""

    def __init__(self, model: MobileSAM) -> None:
        self._ours = Predictor(model)
        self.model = types.SimpleNamespace(mask_threshold=MASK_THRESHOLD)
        self.device = torch.device("cpu")
        self.transform = import_upstream().utils.transforms.ResizeLongestSide(model.image_size)
        self.set_image = self._ours.set_image
        self.reset_image = self._ours.reset_image
        self.predict_torch = self._ours.predict_torch


def _connected_components(image: np.ndarray, _: int) -> tuple[int, np.ndarray, np.ndarray, None]:
    """Stands in for OpenCV's function of this name, with 8 neighbours; areas in the last column."""
    labels, count = ndimage.label(image, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    return count + 1, labels, areas[:, None], None


@contextmanager
def opencv_stood_in() -> Iterator[None]:
    """Upstream removes small regions with OpenCV: it finds what stands in for it."""
    stand_in = types.ModuleType("cv2")
    stand_in.connectedComponentsWithStats = _connected_components  # type: ignore[attr-defined]
    with patch.dict(sys.modules, cv2=stand_in):
        yield


def upstream_masks(model: MobileSAM, image: np.ndarray, **parameters: Any) -> list[dict[str, Any]]:
    """What upstream's generator makes of an image HxWx3 uint8 with our model's answers."""
    module = import_upstream().automatic_mask_generator
    with patch.object(module, "SamPredictor", _Predictor), opencv_stood_in():
        generator = module.SamAutomaticMaskGenerator(model, **parameters)
        found: list[dict[str, Any]] = generator.generate(image)
    return found
