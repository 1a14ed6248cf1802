"""A folder of small photos with boxes, and a model small enough to be quick."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.annotation import auto
from mobilesam.annotation.auto import Summary, auto_annotate
from mobilesam.engines.base import Item, Job, Result
from tests.tiny_bundles import tiny_bundle

SIZES = ((60, 90), (90, 60), (64, 64), (40, 120), (33, 47))
"""H, W of the photos."""

BOXES: tuple[tuple[tuple[int, float, float, float, float], ...], ...] = (
    ((0, 0.5, 0.5, 0.4, 0.6), (2, 0.25, 0.25, 0.3, 0.3)),
    ((1, 0.4, 0.6, 0.5, 0.5),),
    (),
    ((2, 0.6, 0.4, 0.7, 0.5), (0, 0.2, 0.7, 0.2, 0.4), (1, 0.5, 0.5, 1.0, 1.0)),
    ((1, 0.7, 0.3, 0.4, 0.5),),
)
"""Of each photo: class, centre x, centre y, width, height, as shares."""


class InOneProcess:
    """An engine without workers, which take a second each to start."""

    @contextmanager
    def run(
        self, job: Job[Item, Result], items: Sequence[Item]
    ) -> Iterator[Iterator[tuple[Item, Result]]]:
        """Do a job to every item."""
        with job.open() as work:
            yield ((item, work(item)) for item in items)


@pytest.fixture(scope="session")
def bundle() -> str:
    """A tiny bundle's folder."""
    return str(tiny_bundle("torchscript").path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos of noise: ``photo0.png`` to ``photo4.png``."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """YOLO label files for them; the third photo has none."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    for number, rows in enumerate(BOXES):
        if rows:
            lines = (" ".join(map(str, row)) for row in rows)
            (folder / f"photo{number}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def many(photos: Path, boxes: Path) -> Path:
    """Sixty photos instead of five, all with boxes."""
    shutil.copy(boxes / "photo1.txt", boxes / "photo2.txt")
    for number in range(5):
        for copy in range(1, 12):
            for folder, ending in ((photos, "png"), (boxes, "txt")):
                source = folder / f"photo{number}.{ending}"
                os.link(source, source.with_stem(f"photo{number}-{copy}"))
    return photos


@pytest.fixture
def annotate(
    photos: Path, boxes: Path, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Summary]:
    """``auto_annotate`` in this process, with the boxes and the tiny bundle, into ``out``."""
    monkeypatch.setattr(auto, "engine_of", lambda *_, **__: InOneProcess())
    return _caller(photos, boxes, bundle, tmp_path / "out")


@pytest.fixture
def annotate_by_workers(
    photos: Path, boxes: Path, bundle: str, tmp_path: Path
) -> Callable[..., Summary]:
    """The same, as users call it: by worker processes."""
    return _caller(photos, boxes, bundle, tmp_path / "out")


def _caller(photos: Path, boxes: Path, bundle: str, out: Path) -> Callable[..., Summary]:
    def call(**changed: object) -> Summary:
        usual = {
            "data": photos,
            "det_model": boxes,
            "sam_model": bundle,
            "output_dir": out,
            "progress": False,
        }
        return auto_annotate(**(usual | changed))  # type: ignore[arg-type]

    return call


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
