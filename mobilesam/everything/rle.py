"""Masks as run lengths, COCO's way: column by column, first the pixels that are not mask."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Lengths of the runs, [N]; the first one is not mask and may be 0."""


class UncompressedRLE(TypedDict):
    """``size`` is height and width."""

    size: list[int]
    counts: list[int]


class CocoRLE(TypedDict):
    """``size`` is height and width, ``counts`` COCO's compressed string."""

    size: list[int]
    counts: str


def encoded(mask: npt.NDArray[np.bool_]) -> Counts:
    """Run lengths of a mask HxW."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first = [0, 0] if flat[0] else [0]
    return np.diff(np.concatenate([first, changes, [flat.size]])).astype(np.int64)


def decoded(counts: Counts, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask of run lengths, HxW."""
    height, width = size
    values = np.arange(len(counts)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def area(counts: Counts) -> int:
    """Pixels of the mask."""
    return int(counts[1::2].sum())


def uncompressed(counts: Counts, size: tuple[int, int]) -> UncompressedRLE:
    """As segment-anything writes it."""
    return {"size": list(size), "counts": counts.tolist()}


def coco(counts: Counts, size: tuple[int, int]) -> CocoRLE:
    """As pycocotools takes it, and JSON."""
    from pycocotools import mask

    made = mask.frPyObjects(uncompressed(counts, size), *size)
    return {"size": list(size), "counts": made["counts"].decode("ascii")}


def mask_of(segmentation: UncompressedRLE | CocoRLE) -> npt.NDArray[np.bool_]:
    """The mask of a record's ``segmentation`` in either form, HxW."""
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    if isinstance(counts, str):
        from pycocotools import mask

        return mask.decode(segmentation).astype(np.bool_)
    return decoded(np.array(counts, np.int64), (height, width))
