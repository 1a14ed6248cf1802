"""``SAM``: the call that Ultralytics' users know, on weights or on a bundle's files."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any, Literal, Self, overload

import numpy as np
import torch

from mobilesam.closing import Closing
from mobilesam.errors import InputError
from mobilesam.everything.generator import MaskGenerator
from mobilesam.inference.answers import answer
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.images import ImageSource
from mobilesam.inference.predictor import Predictor
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import Runner
from mobilesam.runtimes.bundle import BundlePredictor
from mobilesam.runtimes.checked import torch_threads
from mobilesam.sam.description import described
from mobilesam.sam.opening import UPSTREAM_NAME, Model, device_of, open_predictor, require_count
from mobilesam.sam.options import generator_parameters
from mobilesam.sam.prompts import Asked, asked_objects, prompts_on
from mobilesam.sam.results import Result
from mobilesam.sam.sources import ChannelOrder, Photo, Source, listed, photos, require_order

Masked = tuple[np.ndarray, float]
"""A mask [H, W] bool and its predicted IoU."""


class SAM(Closing):
    """Masks of photos, from MobileSAM's weights in PyTorch or from exported files.

    Arrays, those given as photos and those that results hand out, have their colours in the order
    **BGR**, as OpenCV reads them and as Ultralytics takes them. ``channel_order="rgb"`` makes it
    RGB, as the rest of this package has it, for both. Paths and PIL images say themselves which
    colour is which.

    Args:
        model: a checkpoint, as :func:`mobilesam.load_model` takes it; the folder of a bundle, whose
            files are then run instead; or what ``load_model`` or :class:`mobilesam.Bundle` gave.
            Where there is no file "mobile_sam.pt", that name means the official checkpoint, which
            is downloaded once.
        imgsz: side of the model's square frame in pixels; 1024 for a checkpoint unless given, a
            bundle has its own.
        runtime: which of a bundle's runtimes; its first unless given.
        threads: that may be used; the runtime's own choice unless given.
        channel_order: "bgr" or "rgb", of arrays.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit.
        BundleError: the bundle is damaged, or has no files for the runtime.
        MissingDependencyError: the runtime's library is not installed.
        InputError: another argument cannot be used.
    """

    def __init__(
        self,
        model: Model = UPSTREAM_NAME,
        *,
        imgsz: int | None = None,
        runtime: str | None = None,
        threads: int | None = None,
        channel_order: ChannelOrder = "bgr",
    ) -> None:
        require_order(channel_order)
        if threads is not None:
            require_count("threads", threads)
        self.predictor: ImagePredictor = open_predictor(
            model, imgsz=imgsz, runtime=runtime, threads=threads
        )
        self._threads, self._channel_order = threads, channel_order
        self._seen: tuple[bytes, torch.Tensor | None] = b"", None

    def close(self) -> None:
        """Free what the model holds; of a bundle, its files."""
        self.predictor.close()
        self._seen = b"", None

    @overload
    def predict(
        self, source: Source, stream: Literal[False] = False, *prompts: Any, **options: Any
    ) -> list[Result]: ...
    @overload
    def predict(
        self, source: Source, stream: Literal[True], *prompts: Any, **options: Any
    ) -> Iterator[Result]: ...
    def predict(
        self,
        source: Source,
        stream: bool = False,
        bboxes: Any = None,
        points: Any = None,
        labels: Any = None,
        *,
        conf: float | None = None,
        multimask: bool | None = None,
        device: str | int | torch.device | None = None,
        verbose: bool = False,
        retina_masks: bool = True,
        **others: Any,
    ) -> list[Result] | Iterator[Result]:
        """One mask for each object that is pointed at, or without a prompt of everything.

        How prompts are nested says which object they are of: ``[x, y]`` is one object, ``[[x, y],
        [x, y]]`` are two, ``[[[x, y], [x, y]]]`` is one again, with two points; labels are nested
        alike (:mod:`mobilesam.sam.prompts`). All are in pixels of the photo, and are asked about
        every photo. Which of SAM's masks is returned: the best of the three alternatives for a
        single point, the single-mask output for anything else.

        A photo that is asked about twice in a row is encoded once. Without points and boxes, all
        masks of each photo are found, as segment-anything's automatic mask generation does it.

        Args:
            source: a path, a folder, a PIL image, an array HxWx3, HxW or HxWx4 uint8 (in the
                channel order), or a list of these but folders.
            stream: return results one by one as they are computed, instead of all in a list.
            bboxes: ``[x1, y1, x2, y2]``, or a list of them, one for each object.
            points: of x and y.
            labels: 1 foreground, 0 background; all 1 unless given.
            conf: leave out masks whose predicted IoU is not above it; none unless given.
            multimask: True takes the best of the three alternatives, False the single-mask output.
            device: that PyTorch is to compute on from now on; files run on the CPU. Where it is ""
                nothing changes.
            verbose: print a line for each photo.
            retina_masks: masks always have the photo's size; only True is taken.
            others: without a prompt, parameters of the mask generator, by segment-anything's names
                (:class:`mobilesam.everything.settings.Settings`) or Ultralytics'.

        Returns:
            A result for each photo, in order.

        Raises:
            PromptError: points, labels and boxes do not make prompts, or not of this photo.
            ImageError: a photo cannot be read.
            InputError: another argument cannot be used.
        """
        asked = asked_objects(points, labels, bboxes)
        own = [name for name in signature(SAM.predict).parameters if name not in ("self", "others")]
        parameters = generator_parameters(others, own, prompted=asked is not None)
        if not retina_masks:
            raise InputError("masks always have the photo's size here: leave out retina_masks")
        if asked is None and multimask is not None:
            raise InputError("multimask is for prompts, and there is none: leave it out")
        if conf is not None and not isinstance(conf, int | float):
            raise InputError(f"conf must be a number from 0 to 1, not {conf!r}")
        if device not in (None, ""):
            self.to(device)
        images = listed(source)
        if asked is None:
            answered = self._everything(MaskGenerator(self._engine(), **parameters))
        else:
            answered = self._asked(asked, multimask, named=len(images) > 1)
        results = self._results(images, answered, conf, verbose)
        return results if stream else list(results)

    __call__ = predict

    def predict_point(
        self, source: Source, point: Any, label: int = 1, **options: Any
    ) -> list[Result]:
        """What is at one point.

        Args:
            source: as of :meth:`predict`.
            point: x, y in pixels.
            label: 1 foreground, 0 background.
            options: of :meth:`predict`.
        """
        return self.predict(source, False, points=[point], labels=[label], **options)

    def predict_box(self, source: Source, box: Any, **options: Any) -> list[Result]:
        """What is in one box.

        Args:
            source: as of :meth:`predict`.
            box: x1, y1, x2, y2 in pixels.
            options: of :meth:`predict`.
        """
        return self.predict(source, False, bboxes=[box], **options)

    def to(self, device: str | int | torch.device) -> Self:
        """Let PyTorch compute on a device from now on.

        Raises:
            InputError: there is none such, or files of a bundle are run, which stay on the CPU.
        """
        wanted = device_of(device)
        if isinstance(self.predictor, Predictor):
            self.predictor.model.to(wanted)
            self.predictor.reset_image()
        elif wanted.type != "cpu":
            raise InputError(
                f"a bundle's files run on their runtime and not on '{device}': leave out device"
            )
        return self

    @property
    def device(self) -> torch.device:
        """Where masks are computed."""
        return self.predictor.device

    def info(self, detailed: bool = False, verbose: bool = True) -> dict[str, Any]:
        """What the model is.

        Args:
            detailed: print a line for each part, too.
            verbose: print it.

        Returns:
            ``variant``, ``weights`` and ``engine``, in words; ``image_size``, the side of the frame
            in pixels; ``parameters``, how many, None of a bundle; ``size_bytes``, of the parameters
            in memory or of the files.
        """
        about, lines = described(self.predictor)
        if verbose:
            print("\n".join(lines if detailed else lines[:1]))
        return about

    def _results(
        self,
        images: Sequence[ImageSource],
        answered: Callable[[Photo], list[Masked]],
        conf: float | None,
        verbose: bool,
    ) -> Iterator[Result]:
        for number, photo in enumerate(photos(images, self._channel_order), 1):
            with torch_threads(self._threads):
                answers = answered(photo)
            kept = [n for n, (_, said) in enumerate(answers) if conf is None or said > conf]
            masks = np.zeros((len(kept), *photo.pixels.shape[:2]), bool)
            for row, n in enumerate(kept):
                masks[row] = answers[n][0]
            result = Result(
                photo,
                masks,
                [answers[n][1] for n in kept],
                kept,
                asked=len(answers),
                channel_order=self._channel_order,
            )
            if verbose:
                print(f"{number}/{len(images)} {result}")
            yield result

    def _asked(
        self, asked: list[Asked], multimask: bool | None, *, named: bool
    ) -> Callable[[Photo], list[Masked]]:
        """What answers prompts about a photo; errors name the photo if it is one of several."""

        def answered(photo: Photo) -> list[Masked]:
            prompts = prompts_on(photo.pixels, asked, f"{photo.path}: " if named else "")
            if prompts:
                self._look_at(photo.pixels)
            answers = (answer(self.predictor, each, multimask=multimask) for each in prompts)
            return [(each.mask, float(each.iou[each.chosen])) for each in answers]

        return answered

    def _everything(self, generator: MaskGenerator) -> Callable[[Photo], list[Masked]]:
        """What finds everything in a photo."""

        def answered(photo: Photo) -> list[Masked]:
            found = generator.generate(photo.pixels)
            return [(each["segmentation"], each["predicted_iou"]) for each in found]

        return answered

    def _engine(self) -> MobileSAM | Runner:
        """What the predictor asks: the model, or the runner of the files."""
        if isinstance(self.predictor, BundlePredictor):
            return self.predictor.runner
        assert isinstance(self.predictor, Predictor)
        return self.predictor.model

    def _look_at(self, pixels: np.ndarray) -> None:
        """Encode a photo, unless it is the one that was encoded last."""
        digest = hashlib.blake2b(pixels.data, key=repr(pixels.shape).encode()).digest()
        known, embedding = self._seen
        held = self.predictor.embedding if self.predictor.is_image_set else None
        if digest != known or held is None or held is not embedding:  # others may use the predictor
            self.predictor.set_image(pixels)
            self._seen = digest, self.predictor.embedding
