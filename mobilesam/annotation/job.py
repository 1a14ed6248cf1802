"""One photo annotated: boxes, the mask in each, and their labels as text."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mobilesam.annotation.detectors.base import Detect, DetectorSource
from mobilesam.annotation.formats.base import LabelFormat
from mobilesam.annotation.masks import MaskModel
from mobilesam.annotation.records import Labelled, LeftOut, PhotoFile
from mobilesam.engines.base import Job
from mobilesam.errors import InputError, PromptError, reason_of
from mobilesam.inference.answers import answer
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.images import load_image
from mobilesam.inference.prompts import make_prompt


@dataclass(frozen=True)
class AnnotationJob(Job[PhotoFile, Labelled | LeftOut]):
    """All that a worker needs to annotate photos.

    Attributes:
        detector: where boxes come from.
        model: what makes masks of them.
        format: of the labels.
    """

    detector: DetectorSource
    model: MaskModel
    format: LabelFormat

    @contextmanager
    def open(self) -> Iterator[Callable[[PhotoFile], Labelled | LeftOut]]:
        """Load the detector and the model.

        Raises:
            MobileSAMError: one of them cannot be loaded.
        """
        with self.model.open() as predictor, self.detector.open() as detect:

            def work(photo: PhotoFile) -> Labelled | LeftOut:
                try:
                    return _annotated(photo, detect, predictor, self.format)
                except (InputError, OSError) as error:
                    return LeftOut(photo.name, reason_of(error))

            yield work


def _annotated(
    photo: PhotoFile, detect: Detect, predictor: ImagePredictor, written: LabelFormat
) -> Labelled:
    pixels = load_image(photo.path)
    size = pixels.shape[0], pixels.shape[1]
    found = detect(photo, pixels)
    labels = written.labels(photo, size)
    objects = empty = 0
    predictor.reset_image()
    for number, (box, category) in enumerate(zip(found.boxes, found.classes, strict=True)):
        try:
            prompt = make_prompt(box=box, original_size=size)
        except PromptError:  # nothing of it lies in the photo
            empty += 1
            continue
        if not predictor.is_image_set:
            predictor.set_image(pixels)
        mask = answer(predictor, prompt).mask
        if mask.any():
            objects += 1
            labels.add(
                int(category), mask, None if found.conf is None else float(found.conf[number])
            )
        else:
            empty += 1
    predictor.reset_image()
    return Labelled(labels.text(), objects, empty)
