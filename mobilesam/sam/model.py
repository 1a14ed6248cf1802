"""``SAM``: the call that Ultralytics' users know, on weights or on a bundle's files."""

import hashlib
import inspect
import logging
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np
import torch

from mobilesam.errors import InputError, PromptError
from mobilesam.inference.answers import answer
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.images import ImageSource
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.prompts import Prompt
from mobilesam.runtimes.checked import torch_threads
from mobilesam.sam.description import described
from mobilesam.sam.opening import UPSTREAM_NAME, Model, device_of, open_predictor
from mobilesam.sam.prompts import Asked, asked_objects
from mobilesam.sam.results import Result
from mobilesam.sam.sources import ChannelOrder, Photo, Source, listed, photos, require_order

_LOG = logging.getLogger(__name__)

_ELSEWHERE = {
    "save": "call save() of each result",
    "save_txt": "call save_txt() of each result",
    "save_conf": "call save_txt(file, save_conf=True) of each result",
    "show": "draw each result with plot()",
    "half": "export a bundle of the scheme fp16 and open it",
    "imgsz": "open the model as SAM(..., imgsz=...), a bundle has a size of its own",
    "multimask_output": "use multimask, which chooses one mask an object",
}
"""Options of Ultralytics' ``predict`` that are something else here, and what."""


class SAM:
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
        variant: of the architecture, for a checkpoint.
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
        variant: str = "vit_t",
        imgsz: int | None = None,
        runtime: str | None = None,
        threads: int | None = None,
        channel_order: ChannelOrder = "bgr",
    ) -> None:
        require_order(channel_order)
        self.predictor: ImagePredictor = open_predictor(
            model, variant=variant, imgsz=imgsz, runtime=runtime, threads=threads
        )
        self._threads, self._channel_order = threads, channel_order
        self._seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what the model holds; of a bundle, its files."""
        self.predictor.close()
        self._seen = b""

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
        """One mask for each object that is pointed at, in each photo.

        How prompts are nested says which object they are of: ``[x, y]`` is one object, ``[[x, y],
        [x, y]]`` are two, ``[[[x, y], [x, y]]]`` is one again, with two points; labels are nested
        alike (:mod:`mobilesam.sam.prompts`). All are in pixels of the photo, and are asked about
        every photo. Which of SAM's masks is returned: the best of the three alternatives for a
        single point, the single-mask output for anything else.

        A photo that is asked about twice in a row is encoded once.

        Args:
            source: a path, a folder, a PIL image, an array HxWx3, HxW or HxWx4 uint8 (in the
                channel order), or a list of these but folders.
            stream: return results one by one as they are computed, instead of all in a list.
            bboxes: ``[x1, y1, x2, y2]``, or a list of them, one for each object.
            points: of x and y.
            labels: 1 foreground, 0 background; all 1 unless given.
            conf: leave out masks whose predicted IoU is not above it; none unless given.
            multimask: True takes the best of the three alternatives, False the single-mask output.
            device: that PyTorch is to compute on from now on; files run on the CPU.
            verbose: print a line for each photo.
            retina_masks: masks always have the photo's size; only True is taken.

        Returns:
            A result for each photo, in order.

        Raises:
            PromptError: points, labels and boxes do not make prompts, or not of this photo.
            ImageError: a photo cannot be read.
            InputError: another argument cannot be used.
        """
        for name in others:
            raise InputError(_unknown(name))
        if not retina_masks:
            raise InputError("masks always have the photo's size here: leave out retina_masks")
        asked = asked_objects(points, labels, bboxes)
        if asked is None:
            raise PromptError("no prompt was given: give points or bboxes")
        if device is not None:
            self.to(device)
        images = listed(source)
        results = self._results(images, asked, conf, multimask, verbose)
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
            self._seen = b""
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
            ``weights`` and ``engine``, in words; ``image_size``, the frame's side in pixels;
            ``parameters``, how many, None of a bundle; ``size_bytes``, of the weights in memory or
            of the files.
        """
        about, parts = described(self.predictor)
        if verbose:
            amount = "" if about["parameters"] is None else f"{about['parameters']:,} parameters, "
            print(
                f"MobileSAM ({about['weights']}): {amount}{about['size_bytes'] / 1e6:.1f} MB, "
                f"frame {about['image_size']} x {about['image_size']}, {about['engine']}"
            )
            if detailed:
                print("\n".join(f"  {part}" for part in parts))
        return about

    def _results(
        self,
        images: Sequence[ImageSource],
        asked: list[Asked],
        conf: float | None,
        multimask: bool | None,
        verbose: bool,
    ) -> Iterator[Result]:
        for number, photo in enumerate(photos(images, self._channel_order), 1):
            where = f"{photo.path}: " if len(images) > 1 else ""
            prompts = _prompts(asked, photo, where)
            with torch_threads(self._threads):
                result = self._prompted(photo, prompts, conf, multimask)
            if verbose:
                print(f"{number}/{len(images)} {result}")
            yield result

    def _prompted(
        self, photo: Photo, prompts: list[Prompt], conf: float | None, multimask: bool | None
    ) -> Result:
        if prompts:
            self._look_at(photo.pixels)
        answers = [answer(self.predictor, prompt, multimask=multimask) for prompt in prompts]
        sure = [float(each.iou[each.chosen]) for each in answers]
        kept = [n for n, said in enumerate(sure) if conf is None or said > conf]
        masks = np.zeros((len(kept), *photo.pixels.shape[:2]), bool)
        for row, number in enumerate(kept):
            masks[row] = answers[number].mask
        return Result(
            photo,
            masks,
            [sure[number] for number in kept],
            kept,
            asked=len(prompts),
            channel_order=self._channel_order,
        )

    def _look_at(self, pixels: np.ndarray) -> None:
        """Encode a photo, unless it is the one that was encoded last."""
        digest = hashlib.blake2b(pixels.data, key=repr(pixels.shape).encode()).digest()
        if digest != self._seen or not self.predictor.is_image_set:
            self._seen = b""
            self.predictor.set_image(pixels)
            self._seen = digest


def _prompts(asked: list[Asked], photo: Photo, where: str) -> list[Prompt]:
    """The prompts about a photo, all checked before it is encoded."""
    prompts = []
    for number, each in enumerate(asked):
        whose = where + (f"object {number}: " if len(asked) > 1 else "")
        try:
            prompt = each.on((photo.pixels.shape[0], photo.pixels.shape[1]))
        except PromptError as error:
            raise PromptError(f"{whose}{error}") from None
        for note in prompt.notes:
            _LOG.warning("%s%s", whose, note)
        prompts.append(prompt)
    return prompts


def _unknown(name: str) -> str:
    """What to say of an option that there is none of."""
    if name in _ELSEWHERE:
        return f"predict has no option '{name}': {_ELSEWHERE[name]}"
    known = [n for n in inspect.signature(SAM.predict).parameters if n not in ("self", "others")]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"
    return f"predict has no option '{name}': {hint}"
