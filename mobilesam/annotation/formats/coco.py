"""Labels as one COCO file whose masks are run lengths.

While photos are annotated, each has a file of its own, from which the one is put together at the
end: so nothing is done twice, and no more than one photo's labels are ever in memory. The format is
that of https://cocodataset.org/#format-data ("Object Detection").
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.annotation.formats.base import Bools, LabelFormat, PhotoLabels
from mobilesam.annotation.records import Category, PhotoFile
from mobilesam.data.mask_geometry import tight_box
from mobilesam.errors import MissingDependencyError
from mobilesam.files import written_whole

LABELS_FILE = "annotations.json"
PARTS = "parts"
"""Folder of the files of single photos."""


class CocoFormat(LabelFormat):
    """``annotations.json``, put together of ``parts/``."""

    name = "coco"

    def require(self, photos: Sequence[PhotoFile]) -> None:
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise MissingDependencyError(
                'COCO files need pycocotools: pip install "mobilesam-export[report]"'
            ) from None

    def labels(self, photo: PhotoFile, size: tuple[int, int]) -> PhotoLabels:
        return _Part(photo, size, self.categories)

    def file(self, out: Path, photo: PhotoFile) -> Path:
        return out / PARTS / f"{photo.name}.json"

    def finish(self, out: Path, photos: Sequence[PhotoFile]) -> None:
        """Put the parts together; images are numbered from 1 in the order of the photos."""
        with (
            written_whole(out / LABELS_FILE) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            categories = [
                {"id": category.id, "name": category.name, "supercategory": ""}
                for category in self.categories
            ]
            file.write('{"info": {}, "licenses": [],\n"categories": ' + json.dumps(categories))
            for what, records in (
                ("images", self._images(out, photos)),
                ("annotations", self._annotations(out, photos)),
            ):
                file.write(f',\n"{what}": [')
                for number, record in enumerate(records):
                    file.write((",\n" if number else "\n") + json.dumps(record))
                file.write("]")
            file.write("}\n")

    def _parts(self, out: Path, photos: Sequence[PhotoFile]) -> Iterator[tuple[int, Any]]:
        for number, photo in enumerate(photos, 1):
            yield number, json.loads(self.file(out, photo).read_text("utf-8"))

    def _images(self, out: Path, photos: Sequence[PhotoFile]) -> Iterator[dict[str, Any]]:
        for number, part in self._parts(out, photos):
            yield {"id": number, **part["image"]}

    def _annotations(self, out: Path, photos: Sequence[PhotoFile]) -> Iterator[dict[str, Any]]:
        count = 0
        for image, part in self._parts(out, photos):
            for annotation in part["annotations"]:
                count += 1
                yield {"id": count, "image_id": image, **annotation}


class _Part(PhotoLabels):
    def __init__(
        self, photo: PhotoFile, size: tuple[int, int], categories: Sequence[Category]
    ) -> None:
        height, width = size
        self._image = {"file_name": photo.name, "height": height, "width": width}
        self._categories = categories
        self._annotations: list[dict[str, Any]] = []

    def add(self, category: int, mask: Bools, conf: float | None) -> None:
        from pycocotools.mask import encode

        coded = encode(np.asfortranarray(mask, np.uint8))
        left, top, right, bottom = tight_box(mask)
        record = {
            "category_id": self._categories[category].id,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(np.count_nonzero(mask)),
            "iscrowd": 0,
            "segmentation": {"size": list(mask.shape), "counts": coded["counts"].decode("ascii")},
        }
        self._annotations.append(record if conf is None else record | {"score": round(conf, 6)})

    def text(self) -> str:
        return json.dumps({"image": self._image, "annotations": self._annotations}) + "\n"
