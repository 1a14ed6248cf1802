"""What comes back for one photo: masks, boxes and confidences, to be used, drawn and written."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mobilesam.data.mask_geometry import tight_box
from mobilesam.errors import InputError
from mobilesam.files import write_whole, written_whole
from mobilesam.inference.drawing import draw_objects
from mobilesam.sam.polygons import Polygon, polygon_of
from mobilesam.sam.sources import ChannelOrder, Photo, in_order


class _Rows:
    """Data with a row for each object.

    Args:
        data: the rows, a tensor on the CPU, or an array after :meth:`numpy`.
        orig_shape: H, W of the photo.
    """

    def __init__(self, data: Any, orig_shape: tuple[int, int]) -> None:
        self.data = data
        self.orig_shape = orig_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the data."""
        return tuple(self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Self:
        """Some of the rows; of a single index, a set of one."""
        rows = self.data[index]
        return type(self)(rows[None] if rows.ndim < self.data.ndim else rows, self.orig_shape)

    def cpu(self) -> Self:
        """The same, since results are on the CPU already."""
        return self

    def numpy(self) -> Self:
        """The same with arrays instead of tensors."""
        return type(self)(np.asarray(self.data), self.orig_shape)


class Masks(_Rows):
    """The masks of the objects; ``data`` is [N, H, W] bool at the photo's size."""

    @cached_property
    def xy(self) -> list[Polygon]:
        """Each mask as one polygon [N, 2] in pixels, x from 0 to W and y from 0 to H.

        A pixel is mask exactly if its centre lies inside; see :func:`~.polygons.polygon_of`.

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        return [polygon_of(mask) for mask in np.asarray(self.data)]

    @cached_property
    def xyn(self) -> list[Polygon]:
        """The polygons in shares of the photo's width and height, 0 to 1."""
        height, width = self.orig_shape
        sides = np.array([width, height], np.float32)
        return [(polygon / sides).astype(np.float32) for polygon in self.xy]


class Boxes(_Rows):
    """The boxes of the masks; ``data`` is [N, 6] float32: x1, y1, x2, y2, confidence, number.

    A box is the smallest around its mask, x2 and y2 just outside; zeros around an empty mask.
    """

    @property
    def xyxy(self) -> Any:
        """[N, 4] x1, y1, x2, y2 in pixels."""
        return self.data[:, :4]

    @property
    def xywh(self) -> Any:
        """[N, 4] centre x, centre y, width, height in pixels."""
        corners = self.data[:, :4].reshape(-1, 2, 2)
        both = [corners.sum(1) / 2, corners[:, 1] - corners[:, 0]]
        return torch.cat(both, 1) if isinstance(corners, torch.Tensor) else np.hstack(both)

    @property
    def xyxyn(self) -> Any:
        """``xyxy`` in shares of the photo's width and height."""
        return self.xyxy / self._sides()

    @property
    def xywhn(self) -> Any:
        """``xywh`` in shares of the photo's width and height."""
        return self.xywh / self._sides()

    @property
    def conf(self) -> Any:
        """[N] the IoU that the model predicts for each mask, about 0 to 1."""
        return self.data[:, 4]

    @property
    def cls(self) -> Any:
        """[N] the number of each object, as it was asked about; SAM knows no classes."""
        return self.data[:, 5]

    def _sides(self) -> Any:
        height, width = self.orig_shape
        sides = np.array([width, height, width, height], np.float32)
        return torch.from_numpy(sides) if isinstance(self.data, torch.Tensor) else sides


class Result:
    """The answer about one photo.

    Args:
        photo: the photo.
        masks: [N, H, W] bool.
        conf: [N] the IoU that the model predicts for each.
        numbers: [N] of the objects, among those asked about.
        asked: how many objects were asked about.
        channel_order: of the arrays that are handed out.

    Attributes:
        path: of its file; ``image0.jpg``, ``image1.jpg``, … for what is no file.
        names: of the objects by number: "0", "1", …
        masks: None where there are none.
        boxes: as many as masks.
    """

    def __init__(
        self,
        photo: Photo,
        masks: npt.NDArray[np.bool_],
        conf: npt.ArrayLike,
        numbers: npt.ArrayLike,
        *,
        asked: int,
        channel_order: ChannelOrder,
    ) -> None:
        self.path = photo.path
        self._photo, self._channel_order = photo, channel_order
        self.names = {number: str(number) for number in range(asked)}
        self.masks = Masks(torch.from_numpy(masks), self.orig_shape) if len(masks) else None
        rows = np.zeros((len(masks), 6), np.float32)
        rows[:, :4] = [tight_box(mask) if mask.any() else (0, 0, 0, 0) for mask in masks] or 0
        rows[:, 4], rows[:, 5] = conf, numbers
        self.boxes = Boxes(torch.from_numpy(rows), self.orig_shape)

    @cached_property
    def orig_img(self) -> npt.NDArray[np.uint8]:
        """The photo, HxWx3 uint8, in the channel order."""
        return in_order(self._photo.pixels, self._channel_order)

    @property
    def orig_shape(self) -> tuple[int, int]:
        """H, W of the photo in pixels."""
        height, width = self._photo.pixels.shape[:2]
        return height, width

    @property
    def conf(self) -> Any:
        """[N] the IoU that the model predicts for each mask, as ``boxes.conf``."""
        return self.boxes.conf

    def __len__(self) -> int:
        """How many masks."""
        return len(self.boxes)

    def __repr__(self) -> str:
        height, width = self.orig_shape
        return f"Result({self.path!r}: {height}x{width}, {len(self)} mask(s))"

    def plot(
        self, *, conf: bool = True, labels: bool = True, boxes: bool = True, masks: bool = True
    ) -> npt.NDArray[np.uint8]:
        """The photo with its masks in colours, boxes around them, and names and confidences.

        Returns:
            HxWx3 uint8 in the channel order.
        """
        return in_order(np.array(self._drawn(conf, labels, boxes, masks)), self._channel_order)

    def show(self) -> None:
        """Open what :meth:`plot` gives in the system's viewer of pictures."""
        self._drawn(conf=True, labels=True, boxes=True, masks=True).show()

    def save(self, filename: str | Path | None = None, **parts: bool) -> str:
        """Write the picture that :meth:`plot` gives.

        Args:
            filename: of an image; ``results_`` and the photo's name, here, unless given.
            parts: as of :meth:`plot`.

        Returns:
            Where it is.

        Raises:
            InputError: Pillow writes no images of that name's kind.
        """
        extensions = Image.registered_extensions()
        own = Path(f"results_{Path(self.path).name}")
        if extensions.get(own.suffix.lower()) not in Image.SAVE:
            own = own.with_suffix(".jpg")
        path = own if filename is None else Path(filename)
        if extensions.get(path.suffix.lower()) not in Image.SAVE:
            raise InputError(f"'{path}' has no ending of an image file: write to .png or .jpg")
        drawn = self._drawn(**{"conf": True, "labels": True, "boxes": True, "masks": True} | parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            drawn.save(temporary)
        return str(path)

    def save_txt(self, txt_file: str | Path, save_conf: bool = False) -> str:
        """Write the masks as YOLO's segmentation labels, instead of what the file held.

        A line for each mask: the object's number, then the polygon's x and y in turns, as shares
        of the photo's width and height. Empty masks have no line.

        Args:
            txt_file: the file; its folder is made if need be.
            save_conf: add the confidence at the end of each line.

        Returns:
            Where it is.

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        lines = []
        polygons = [] if self.masks is None else self.masks.xyn
        for polygon, number, conf in zip(polygons, self.boxes.cls, self.conf, strict=True):
            if len(polygon):
                values = [*polygon.ravel().tolist(), *([float(conf)] if save_conf else [])]
                lines.append(" ".join([str(int(number)), *(f"{value:.6g}" for value in values)]))
        path = Path(txt_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(f"{line}\n" for line in lines))
        return str(path)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """A record for each mask: ``name``, ``class``, ``confidence``, ``box``, ``segments``.

        Args:
            normalize: places as shares of the photo's width and height instead of pixels.
            decimals: to which numbers are rounded.

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        polygons = [] if self.masks is None else self.masks.xyn if normalize else self.masks.xy
        boxes = (self.boxes.xyxyn if normalize else self.boxes.xyxy).tolist()
        return [
            {
                "name": self.names[int(number)],
                "class": int(number),
                "confidence": round(conf, decimals),
                "box": {
                    side: round(value, decimals)
                    for side, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)
                },
                "segments": {
                    axis: [round(value, decimals) for value in column]
                    for axis, column in zip("xy", polygon.T.tolist(), strict=True)
                },
            }
            for polygon, box, conf, number in zip(
                polygons, boxes, self.conf.tolist(), self.boxes.cls.tolist(), strict=True
            )
        ]

    def to_json(self, normalize: bool = False, decimals: int = 5) -> str:
        """:meth:`summary` as JSON."""
        return json.dumps(self.summary(normalize, decimals), indent=2)

    def _drawn(self, conf: bool, labels: bool, boxes: bool, masks: bool) -> Image.Image:
        shown = [] if self.masks is None else list(np.asarray(self.masks.data))
        titles = [
            " ".join(
                [*([self.names[int(number)]] if labels else []), *([f"{said:.2f}"] if conf else [])]
            )
            for number, said in zip(self.boxes.cls, self.conf, strict=True)
        ]
        return draw_objects(
            self._photo.pixels,
            shown,
            self.boxes.xyxy.tolist(),
            titles=titles,
            fill=masks,
            outline=boxes,
        )
