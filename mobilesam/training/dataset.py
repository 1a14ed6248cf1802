"""Training images by number: image i of a stage is a pure function of (seed, stage, i).

So the position in the data is a number, and a run that is resumed sees what it would have seen.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mobilesam.data.mask_geometry import tight_box
from mobilesam.errors import InputError
from mobilesam.inference.transforms import normalized_input
from mobilesam.training.config import Stage
from mobilesam.training.library import Library
from mobilesam.training.photometric import Random, pick
from mobilesam.training.samples import Choice, Sample, choices
from mobilesam.training.views import random_view

_TRIES = 4  # views without a usable mask are drawn again so often, then scenes in their place


@dataclass(frozen=True)
class Batch:
    """B images with P masks each.

    Attributes:
        images: [B, 3, S, S] float32, normalised.
        masks: [B, P, S/4, S/4] uint8, 0 or 1.
        boxes: [B, P, 4] float32, tight x1, y1, x2, y2 in pixels of the frame.
        valid: [B, S/4, S/4] uint8, 1 where the frame is image, 0 in its padding.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor
    valid: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, its images laid out channels-last."""
        images = self.images.to(device, memory_format=torch.channels_last)
        return Batch(images, *(t.to(device) for t in (self.masks, self.boxes, self.valid)))


class TrainingImages(Dataset[Batch]):
    """Images of one stage; ``self[i]`` is a :class:`Batch` of one image, for any i >= 0.

    Args:
        library: sources of the images.
        stage: which of them, how large, how many masks.
        seed: of the run.
        stage_number: position of the stage in the run.

    Raises:
        InputError: no source of the stage has a share, or, from ``self[i]``, a photo cannot be read
            or no view has a mask that is large enough.
    """

    def __init__(self, library: Library, stage: Stage, seed: int, stage_number: int) -> None:
        self.library, self.stage, self.key = library, stage, (seed, stage_number)
        shares = {
            self._masked: stage.sources.masks if library.masked else 0.0,
            self._regions: stage.sources.regions if library.regions else 0.0,
            self._scene: stage.sources.scenes,
        }
        total = sum(shares.values())
        if total <= 0:
            raise InputError(
                "a stage has nothing to learn from: give its sources a share above 0, and the data "
                "they need"
            )
        self._sources = list(shares)
        self._chances = [share / total for share in shares.values()]

    def __getitem__(self, index: int) -> Batch:
        random = np.random.default_rng((*self.key, index))
        source = self._sources[random.choice(len(self._sources), p=self._chances)]
        for draw in (source,) * _TRIES + (self._scene,) * _TRIES:
            sample = draw(random)
            found = choices(sample, self.stage.min_share)
            if found:
                return _one(sample, found, random, self.stage)
        raise InputError(
            f"no view with a mask of at least {self.stage.min_share:.1%} was found: lower min_share"
        )

    def _masked(self, random: Random) -> Sample:
        group = pick(random, self.library.masked)
        view = self._view(pick(random, group).sample(), random)
        if random.random() < self.stage.pasted:
            view = self.library.scenes.strewn(view, random)
        return view

    def _regions(self, random: Random) -> Sample:
        return self._view(pick(random, self.library.regions).sample(), random)

    def _scene(self, random: Random) -> Sample:
        return self.library.scenes.framed(random, self.stage.image_size)

    def _view(self, sample: Sample, random: Random) -> Sample:
        stage = self.stage
        return random_view(
            sample,
            random,
            stage.image_size,
            whole=stage.whole,
            smallest=stage.smallest_crop,
            min_share=stage.min_share,
        )


def collate(singles: list[Batch]) -> Batch:
    """One batch of batches of one."""
    return Batch(
        torch.cat([s.images for s in singles]),
        torch.cat([s.masks for s in singles]),
        torch.cat([s.boxes for s in singles]),
        torch.cat([s.valid for s in singles]),
    )


def _one(sample: Sample, found: list[Choice], random: Random, stage: Stage) -> Batch:
    """A sample as tensors, with as many masks as the stage asks for, repeated if it has fewer."""
    weights = np.array([choice.weight for choice in found])
    enough = len(found) >= stage.prompts
    drawn = random.choice(len(found), stage.prompts, replace=not enough, p=weights / weights.sum())
    side = stage.image_size // 4
    masks = np.zeros((stage.prompts, side, side), np.uint8)
    boxes = np.zeros((stage.prompts, 4), np.float32)
    for place, number in enumerate(drawn):
        choice = found[number]
        mask = sample.layers[choice.layer].labels == choice.label
        masks[place] = _low_res(mask, side)
        boxes[place] = tight_box(mask)
    height, width = sample.pixels.shape[:2]
    # A thin mask at the edge may keep a cell that is mostly padding.
    valid = np.maximum(_low_res(np.ones((height, width), bool), side), masks.max(axis=0))
    return Batch(
        torch.from_numpy(normalized_input(sample.pixels, stage.image_size)),
        torch.from_numpy(masks)[None],
        torch.from_numpy(boxes)[None],
        torch.from_numpy(valid)[None],
    )


def _low_res(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask [h, w] placed top-left in the frame, on the low-res grid: cells at least half full.

    A mask too thin to fill half of any cell keeps every cell that it touches.
    """
    height, width = mask.shape
    frame = np.zeros((4 * side, 4 * side), np.uint8)
    frame[:height, :width] = mask
    covered = frame.reshape(side, 4, side, 4).sum(axis=(1, 3), dtype=np.uint8)
    return (covered >= (8 if covered.max() >= 8 else 1)).astype(np.uint8)
