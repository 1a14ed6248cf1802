"""COCO labels: pycocotools loads them, and their masks are the model's."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mobilesam.annotation.auto import Summary
from tests.mobilesam.annotation.conftest import SIZES
from tests.mobilesam.annotation.masks import expected

pytestmark = pytest.mark.slow


def loaded(path: Path) -> COCO:
    """By pycocotools, which prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def test_every_label_is_its_mask(
    annotate: Callable[..., Summary], bundle: str, photos: Path, boxes: Path
) -> None:
    (boxes / "classes.txt").write_text("dog\ncow\ncat\n")
    done = annotate(format="coco")
    coco = loaded(done.output_dir / "annotations.json")
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["dog", "cow", "cat"]
    wanted = expected(bundle, photos)
    for number, (objects, (height, width)) in enumerate(zip(wanted, SIZES, strict=True)):
        (image,) = (
            each for each in coco.dataset["images"] if each["file_name"] == f"photo{number}.png"
        )
        assert (image["height"], image["width"]) == (height, width)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert len(annotations) == len(objects)
        for annotation, (which, mask) in zip(annotations, objects, strict=True):
            assert annotation["category_id"] == which + 1
            assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
            assert annotation["area"] == np.count_nonzero(mask)
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert mask[y].any() and mask[y + h - 1].any()
            assert mask[:, x].any() and mask[:, x + w - 1].any()


def test_a_photo_that_was_left_out_is_not_in_it(
    annotate: Callable[..., Summary], photos: Path
) -> None:
    (photos / "photo0.png").write_bytes(b"")
    coco = loaded(annotate(format="coco").output_dir / "annotations.json")
    assert [each["file_name"] for each in coco.dataset["images"]] == [
        f"photo{number}.png" for number in range(1, 5)
    ]
    assert [each["id"] for each in coco.dataset["annotations"]] == list(
        range(1, len(coco.dataset["annotations"]) + 1)
    )


def test_its_boxes_are_taken_again(annotate: Callable[..., Summary], tmp_path: Path) -> None:
    """A COCO file that was written here is a source of boxes too; its classes stay as they are."""
    first = annotate(format="coco").output_dir / "annotations.json"
    again = annotate(format="coco", det_model=first, output_dir=tmp_path / "again").output_dir
    ids = [
        [each["category_id"] for each in loaded(path).dataset["annotations"]]
        for path in (first, again / "annotations.json")
    ]
    assert ids[0] == ids[1]
