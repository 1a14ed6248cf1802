"""Automatic mask generation: points all over the photo, and of their masks the good ones."""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from mobilesam.bundle.manifest import BundleFolder
from mobilesam.bundle.points import points_files
from mobilesam.closing import Closing
from mobilesam.everything import rle
from mobilesam.everything.answers import Answerer, PyTorchAnswerer, RunnerAnswerer
from mobilesam.everything.candidates import Candidate, Found, Judge, box_of
from mobilesam.everything.crops import Crop, crops_of, cut_off
from mobilesam.everything.nms import best_boxes
from mobilesam.everything.order import CoarseToFine, EveryPoint
from mobilesam.everything.regions import without_small_regions
from mobilesam.everything.settings import Settings
from mobilesam.inference.images import ImageSource, load_image
from mobilesam.inference.transforms import Frame
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner, Runner


class MaskRecord(TypedDict):
    """One mask, with segment-anything's names.

    Attributes:
        segmentation: by ``output_mode``, the mask as an array HxW bool,
            :class:`~mobilesam.everything.rle.UncompressedRLE` or
            :class:`~mobilesam.everything.rle.CocoRLE`.
        area: its pixels.
        bbox: x, y, width, height, from the outermost pixels' positions: a mask of one pixel has
            width 0.
        predicted_iou: the decoder's own.
        point_coords: the point that it is the answer to, [[x, y]].
        stability_score: IoU of the mask at a higher and a lower threshold.
        crop_box: x, y, width, height of the part of the photo it was found in.
    """

    segmentation: Any
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float
    crop_box: list[int]


class MaskGenerator(Closing):
    """Finds every mask of a photo, as segment-anything's ``SamAutomaticMaskGenerator`` does.

    Args:
        source: the PyTorch model as :func:`mobilesam.load_model` returns it; a bundle, whose files
            are opened; or a runner that is loaded and stays the caller's.
        runtime: which of a bundle's runtimes; None takes its first.
        threads: threads that a bundle's runtime may use; None leaves its default.
        parameters: segment-anything's, see :class:`mobilesam.everything.settings.Settings`.

    Raises:
        InputError: a parameter that there is not, or a value that cannot be used.
        MissingDependencyError: a library for the parameters, or the bundle's runtime, is not
            installed.
        BundleError: a file of the bundle is missing, altered or cannot be loaded.
    """

    def __init__(
        self,
        source: MobileSAM | BundleFolder | Runner,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        **parameters: Any,
    ) -> None:
        self.settings = Settings.of(parameters)
        self._grids = self.settings.grids
        self._opened: BundleRunner | None = None
        self._answerer: Answerer
        if isinstance(source, MobileSAM):
            self._answerer = PyTorchAnswerer(source)
            return
        if isinstance(source, BundleFolder):
            runner = open_runner(source, runtime or source.runtimes[0], threads=threads)
            source.verify()
            runner.load()
            self._opened = runner
            files = points_files(source) if runner.name == "onnxruntime" else None
            if files is not None:
                from mobilesam.everything.points_answers import PointsAnswerer

                self._answerer = PointsAnswerer(runner, files, threads)
                return
            source = runner
        self._answerer = RunnerAnswerer(source)

    def close(self) -> None:
        """Free a bundle's files, if they were opened here."""
        if self._opened is not None:
            self._opened.unload()

    @property
    def engine(self) -> str:
        """What computes, in words for people."""
        return self._answerer.engine

    def count_points(self, size: tuple[int, int]) -> int:
        """How many points a photo of this height and width is asked about at most."""
        return sum(len(self._grids[crop.layer]) for crop in self._crops(size))

    def generate(
        self, image: ImageSource, on_point: Callable[[], None] | None = None
    ) -> list[MaskRecord]:
        """All masks of a photo, those of the highest predicted IoU first.

        Args:
            image: HxWx3 uint8 RGB, a path or a PIL image.
            on_point: called for each point that is done with, for a progress bar.

        Raises:
            ImageError: the image cannot be read or used.
        """
        pixels = load_image(image)
        height, width = pixels.shape[:2]
        size = height, width
        found: list[Found] = []
        crops = self._crops(size)
        for crop in crops:
            found += self._of_crop(crop.of(pixels), crop, size, on_point or (lambda: None))
        if len(crops) > 1 and found:
            # Masks of smaller crops come first: they were seen more closely.
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (mask.crop_box for mask in found)]
            found = _best(found, 1 / np.array(areas, np.float64), self.settings.crop_nms_thresh)
        if self.settings.min_mask_region_area > 0 and found:
            found = self._without_small_regions(found, size)
        return [self._record(mask, size) for mask in found]

    def _crops(self, size: tuple[int, int]) -> list[Crop]:
        return crops_of(size, self.settings.crop_n_layers, self.settings.crop_overlap_ratio)

    def _of_crop(
        self, pixels: np.ndarray, crop: Crop, size: tuple[int, int], on_point: Callable[[], None]
    ) -> list[Found]:
        """The masks of one crop, duplicates dropped."""
        height, width = pixels.shape[:2]
        image_size = self._answerer.image_size
        frame = Frame((height, width), image_size)
        judge = Judge(self.settings, frame, image_size // 4)
        self._answerer.set_image(pixels, judge.needed)
        candidates = list(self._candidates(judge, self._grids[crop.layer], frame, on_point))
        if not candidates:
            return []
        offset = np.array([crop.x1, crop.y1] * 2)
        boxes = np.array([candidate.box for candidate in candidates], np.int64) + offset
        whole = ~cut_off(boxes, crop, size)
        candidates = [each for each, stays in zip(candidates, whole, strict=True) if stays]
        scores = np.array([candidate.predicted_iou for candidate in candidates])
        kept = best_boxes(boxes[whole], scores, self.settings.box_nms_thresh)
        return [_placed(candidates[index], judge, crop, size) for index in kept]

    def _candidates(
        self,
        judge: Judge,
        grid: npt.NDArray[np.float64],
        frame: Frame,
        on_point: Callable[[], None],
    ) -> Iterator[Candidate]:
        """Of each point's masks those that are good by themselves."""
        height, width = frame.original_size
        points = grid * np.array([width, height])
        order = EveryPoint(len(grid))
        if self.settings.mode == "fast":
            order = CoarseToFine(math.isqrt(len(grid)), on_point)
        for indices in order.rounds():
            for answer in self._answerer.answers(points, indices, judge.good_iou):
                x, y = (float(value) for value in points[answer.point])
                for index, logits in zip(answer.chosen, answer.low_res, strict=True):
                    candidate = judge.candidate(logits, float(answer.iou[index]), (x, y))
                    if candidate is not None:
                        order.found(answer.point)
                        yield candidate
                on_point()

    def _without_small_regions(self, found: list[Found], size: tuple[int, int]) -> list[Found]:
        """Holes and islands removed, then duplicates, of which unchanged masks stay."""
        least = self.settings.min_mask_region_area
        cleaned: list[Found] = []
        unchanged: list[float] = []
        for mask in found:
            before = rle.decoded(mask.counts, size)
            after = without_small_regions(before, least)
            unchanged.append(float(after is before))
            if after is not before:
                changes = {"box": box_of(after), "counts": rle.encoded(after)}
                mask = Found(**{**vars(mask), **changes})
            cleaned.append(mask)
        threshold = max(self.settings.box_nms_thresh, self.settings.crop_nms_thresh)
        return _best(cleaned, np.array(unchanged), threshold)

    def _record(self, mask: Found, size: tuple[int, int]) -> MaskRecord:
        segmentation: object
        if self.settings.output_mode == "binary_mask":
            segmentation = rle.decoded(mask.counts, size)
        elif self.settings.output_mode == "coco_rle":
            segmentation = rle.coco(mask.counts, size)
        else:
            segmentation = rle.uncompressed(mask.counts, size)
        return {
            "segmentation": segmentation,
            "area": rle.area(mask.counts),
            "bbox": _as_xywh(mask.box),
            "predicted_iou": mask.predicted_iou,
            "point_coords": [list(mask.point)],
            "stability_score": mask.stability_score,
            "crop_box": _as_xywh(mask.crop_box),
        }


def _placed(candidate: Candidate, judge: Judge, crop: Crop, size: tuple[int, int]) -> Found:
    """A candidate of a crop as a mask of the photo."""
    mask = judge.mask(candidate)
    if mask.shape != size:
        whole = np.zeros(size[::-1], np.bool_).T  # columns lie together, as in `mask`
        whole[crop.y1 : crop.y2, crop.x1 : crop.x2] = mask
        mask = whole
    x1, y1, x2, y2 = candidate.box
    x, y = candidate.point
    return Found(
        candidate.predicted_iou,
        candidate.stability_score,
        (crop.x1 + x1, crop.y1 + y1, crop.x1 + x2, crop.y1 + y2),
        (crop.x1 + x, crop.y1 + y),
        crop.box,
        rle.encoded(mask),
    )


def _best(found: list[Found], scores: npt.NDArray[np.float64], threshold: float) -> list[Found]:
    """The masks that non-maximum suppression leaves."""
    boxes = np.array([mask.box for mask in found], np.int64)
    return [found[index] for index in best_boxes(boxes, scores, threshold)]


def _as_xywh(box: tuple[int, int, int, int]) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
