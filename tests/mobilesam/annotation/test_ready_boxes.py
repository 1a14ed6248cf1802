"""Boxes that are there already become masks, and masks become label files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.annotation.auto import Summary
from mobilesam.errors import InputError
from tests.mobilesam.annotation.conftest import SIZES, content
from tests.mobilesam.annotation.masks import drawn, expected

pytestmark = pytest.mark.slow

Annotate = Callable[..., Summary]


def test_every_label_is_its_mask(annotate: Annotate, bundle: str, photos: Path) -> None:
    done = annotate()
    wanted = expected(bundle, photos)
    assert (done.photos, done.annotated, done.before, done.left_out) == (5, 5, 0, ())
    assert done.objects == sum(map(len, wanted)) > 4
    assert done.objects + done.empty == 7
    for number, (objects, size) in enumerate(zip(wanted, SIZES, strict=True)):
        lines = (done.output_dir / f"photo{number}.txt").read_text().splitlines()
        assert len(lines) == len(objects)
        for line, (which, mask) in zip(lines, objects, strict=True):
            label, outlined = drawn(line, size)
            assert label == which
            assert np.array_equal(outlined, mask)


def test_what_is_done_is_not_done_again(annotate: Annotate, photos: Path) -> None:
    out = annotate().output_dir
    before = {file: file.stat().st_mtime_ns for file in out.glob("*.txt")}
    (out / "photo1.txt").write_text("corrected by hand\n")
    Image.new("RGB", (30, 20)).save(photos / "photo9.png")
    again = annotate()
    assert (again.photos, again.annotated, again.before) == (6, 1, 5)
    assert (out / "photo1.txt").read_text() == "corrected by hand\n"
    after = {file: file.stat().st_mtime_ns for file in out.glob("*.txt")}
    assert {f for f in before if before[f] != after[f]} == {out / "photo1.txt"}


def test_a_photo_that_was_changed_is_done_again(annotate: Annotate, photos: Path) -> None:
    out = annotate().output_dir
    before = (out / "photo0.txt").read_text()
    Image.effect_noise((80, 50), 90).save(photos / "photo0.png")
    assert annotate().annotated == 1
    assert (out / "photo0.txt").read_text() != before


def test_a_bad_photo_is_left_out_and_counted(
    annotate: Annotate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (photos / "photo1.png").read_bytes()
    (photos / "photo1.png").write_bytes(whole[:200])
    (photos / "broken.jpg").write_bytes(b"")
    done = annotate()
    assert [each.name for each in done.left_out] == ["broken.jpg", "photo1.png"]
    assert done.annotated == 4 and "empty (0 bytes)" in done.left_out[0].reason
    assert not (done.output_dir / "photo1.txt").exists()
    listed = json.loads((done.output_dir / "left_out.json").read_text())
    assert [each["name"] for each in listed] == ["broken.jpg", "photo1.png"]
    assert "left out 'photo1.png': The image" in caplog.text
    # Mended, the photo is annotated, and no list of photos left out stays behind.
    (photos / "photo1.png").write_bytes(whole)
    (photos / "broken.jpg").unlink()
    assert annotate().annotated == 1
    assert not (done.output_dir / "left_out.json").exists()


def test_no_photo_can_be_read(annotate: Annotate, photos: Path) -> None:
    for photo in photos.iterdir():
        photo.write_bytes(b"no photo")
    with pytest.raises(InputError, match="none of the 5 photos could be annotated"):
        annotate()


def test_classes_that_are_wanted(annotate: Annotate) -> None:
    done = annotate(classes=[2])
    lines = [line for file in done.output_dir.glob("*.txt") for line in file.open()]
    assert lines and all(line.startswith("2 ") for line in lines)


def test_outlines_and_confidences_in_label_files(
    annotate: Annotate, boxes: Path, tmp_path: Path
) -> None:
    """The same boxes, as corners of an outline and with a confidence, give the same labels."""
    plain = annotate(output_dir=tmp_path / "plain").output_dir
    for file in boxes.glob("*.txt"):
        lines = []
        for number, line in enumerate(file.read_text().splitlines()):
            which, x, y, w, h = (float(value) for value in line.split())
            left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
            outline = [left, top, right, top, right, bottom, left, bottom]
            values = outline if number % 2 == 0 else [x, y, w, h, 0.25]
            lines.append(" ".join(map(str, [int(which), *values])))
        file.write_text("\n".join(lines) + "\n\n")
    other = annotate(output_dir=tmp_path / "other").output_dir
    labels = [
        {name: text for name, text in content(out).items() if name.endswith(".txt")}
        for out in (plain, other)
    ]
    assert labels[0] == labels[1]


def test_boxes_of_a_coco_file(annotate: Annotate, boxes: Path, tmp_path: Path) -> None:
    plain = annotate(output_dir=tmp_path / "plain").output_dir
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (height, width) in enumerate(SIZES):
        name = f"train/photo{number}.png" if number % 2 else f"photo{number}.png"
        images.append({"id": 7 - number, "file_name": name, "height": height, "width": width})
        file = boxes / f"photo{number}.txt"
        for line in file.read_text().splitlines() if file.exists() else ():
            which, x, y, w, h = (float(value) for value in line.split())
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            annotations.append({"image_id": 7 - number, "category_id": 10 * which, "bbox": box})
    annotations.append({**annotations[0], "iscrowd": 1})
    categories = [{"id": 20, "name": "cat"}, {"id": 0, "name": "dog"}, {"id": 10, "name": "cow"}]
    coco = {"images": images, "categories": categories, "annotations": annotations}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(coco))
    other = annotate(output_dir=tmp_path / "other", det_model=path).output_dir
    for number in range(5):
        name = f"photo{number}.txt"
        assert (other / name).read_text() == (plain / name).read_text()
    assert json.loads((other / "annotate.json").read_text())["names"] == ["dog", "cow", "cat"]
    # An image of another size is not the one that the boxes are of.
    images[0]["width"] += 1
    path.write_text(json.dumps(coco))
    done = annotate(output_dir=tmp_path / "third", det_model=path)
    assert [each.name for each in done.left_out] == ["photo0.png"]
    assert (
        "is 90 x 60, but" in done.left_out[0].reason and "says 91 x 60" in done.left_out[0].reason
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2", "has 4 numbers"),
        ("0 0.5 0.5 0.2 x", "no number"),
        ("0 45 30 20 20", "outside the photo"),
        ("0 0.5 0.5 nan 0.2", "outside the photo"),
        ("1.5 0.5 0.5 0.2 0.2", "classes are whole"),
        ("-1 0.5 0.5 0.2 0.2", "classes are whole"),
        ("9999999999 0.5 0.5 0.2 0.2", "classes are whole, from 0 to 99999"),
    ],
)
def test_a_bad_label_file_leaves_its_photo_out(
    annotate: Annotate, boxes: Path, line: str, reason: str
) -> None:
    (boxes / "photo1.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    done = annotate()
    assert [each.name for each in done.left_out] == ["photo1.png"]
    assert "line 2 of" in done.left_out[0].reason and reason in done.left_out[0].reason


def test_boxes_beside_the_photo_have_no_label(annotate: Annotate, boxes: Path) -> None:
    (boxes / "photo2.txt").write_text("0 0.5 0.5 0 0.5\n")
    done = annotate()
    assert (done.output_dir / "photo2.txt").read_text() == ""
    assert done.empty >= 1
