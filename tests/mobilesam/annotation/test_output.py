"""The folder of labels: whose it is, what is refused, and a disk that is full."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

from mobilesam.annotation import output
from mobilesam.annotation.auto import Summary
from mobilesam.errors import InputError
from tests.mobilesam.annotation.conftest import content

pytestmark = pytest.mark.slow

Annotate = Callable[..., Summary]


def test_labels_of_another_run(annotate: Annotate, photos: Path, tmp_path: Path) -> None:
    before = content(annotate(classes=[0, 1]).output_dir)
    moved = tmp_path / "moved"
    photos.rename(moved)
    with pytest.raises(InputError, match="labels of another run .data was .*photos.* is .*moved"):
        annotate(classes=[0, 1], data=moved)
    moved.rename(photos)
    for changed, said in (
        ({"classes": [0]}, r"classes was \[0, 1\] and is \[0\]"),
        ({"classes": None}, r"classes was \[0, 1\] and is null"),
        ({"classes": [1, 0], "format": "coco"}, 'format was "yolo" and is "coco"'),
    ):
        with pytest.raises(InputError, match=said):
            annotate(**changed)
    assert content(tmp_path / "out") == before
    assert annotate(classes=[1, 0]).annotated == 0


def test_another_model_or_other_boxes(annotate: Annotate, boxes: Path) -> None:
    annotate()
    with pytest.raises(InputError, match="another run .sam.name was"):
        annotate(sam_model="demo")
    (boxes / "photo0.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    with pytest.raises(InputError, match="another run .detector.sha256 was"):
        annotate()


def test_a_folder_of_something_else(annotate: Annotate, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "photo0.txt").write_text("0 0 0 1 1\n")
    with pytest.raises(InputError, match="no labels of ours, such as 'photo0.txt'"):
        annotate()
    with pytest.raises(InputError, match="is a file: give a folder"):
        annotate(output_dir=out / "photo0.txt")
    with pytest.raises(InputError, match="no labels of ours, such as 'photo0.png'"):
        annotate(output_dir=photos)
    for damaged in ("", "[]", "{"):
        (out / "annotate.json").write_text(damaged)
        with pytest.raises(InputError, match=r"annotate\.json' (cannot be read|holds no settings)"):
            annotate()
    assert content(out).keys() == {"photo0.txt", "annotate.json"}


def test_two_runs_at_once(annotate: Annotate, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".annotate.lock"):
        with pytest.raises(InputError, match="another run is writing"):
            annotate()
    assert annotate().annotated == 5


def test_a_full_disk_loses_nothing(
    annotate: Annotate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = annotate(output_dir=tmp_path / "whole").output_dir
    written: list[str] = []

    def fill(path: Path, text: Any) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path.name)
        write_whole(path, text)

    write_whole = output.write_whole
    monkeypatch.setattr(output, "write_whole", fill)
    with pytest.raises(InputError, match=r"(?s)photo2\.txt' cannot be written .the disk is full."):
        annotate()
    assert sorted(content(tmp_path / "out")) == [
        ".annotate.lock", "annotate.json", "photo0.txt", "photo1.txt",
    ]  # fmt: skip
    monkeypatch.setattr(output, "write_whole", write_whole)
    assert annotate().annotated == 3
    assert content(tmp_path / "out") == content(whole)


def test_nothing_is_written_for_bad_input(annotate: Annotate, tmp_path: Path) -> None:
    for wrong in (
        {"sam_model": tmp_path / "none"},
        {"det_model": tmp_path / "none.onnx"},
        {"data": tmp_path / "none"},
        {"format": "voc"},
        {"classes": [9]},
    ):
        with pytest.raises(InputError):
            annotate(**wrong)
        assert not (tmp_path / "out").exists()


def test_two_photos_with_one_label_file(annotate: Annotate, photos: Path) -> None:
    Image.new("RGB", (30, 20)).save(photos / "photo0.jpg")
    with pytest.raises(InputError, match="'photo0.jpg' and 'photo0.png' would have the same"):
        annotate()
    done = annotate(format="coco")
    coco = json.loads((done.output_dir / "annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]][:2] == ["photo0.jpg", "photo0.png"]


def test_the_folder_beside_the_data(annotate: Annotate, photos: Path) -> None:
    done = annotate(output_dir=None)
    assert done.output_dir == photos.parent / "photos_auto_annotate_labels"
