"""The work behind `mobilesam predict`: ask a runner about one photo."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mobilesam.errors import InputError
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import MASK_THRESHOLD, choose_mask
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame, upscale_logits

if TYPE_CHECKING:
    from mobilesam.runtimes.base import Runner


@dataclass(frozen=True)
class Request:
    """What was asked, still unchecked; coordinates in pixels of the photo."""

    image: Path
    points: Sequence[Sequence[float]]
    labels: Sequence[float]
    box: Sequence[float] | None
    mask_input: Path | None
    multimask: bool | None
    threads: int | None


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        pixels: the photo, HxWx3 uint8.
        low_res: logits of all four masks, [4, S/4, S/4].
        iou: their predicted IoU, [4].
        chosen: which of the four `mask` is.
        mask: HxW bool at the photo's size.
        title: who computed it.
    """

    image: str
    image_size: int
    pixels: np.ndarray
    prompt: Prompt
    low_res: np.ndarray
    iou: np.ndarray
    chosen: int
    mask: np.ndarray
    weights: str
    title: str

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    def as_json(self, files: dict[str, str]) -> str:
        """Everything but the pixels; the mask as COCO's compressed run-length encoding."""
        from pycocotools import mask as coco

        rle = coco.encode(np.asfortranarray(self.mask.astype(np.uint8)))
        box = None if self.prompt.box is None else self.prompt.box.tolist()
        described = {
            "image": self.image,
            "size": list(self.mask.shape),
            "prompt": {
                "points": self.prompt.point_coords.tolist(),
                "labels": [int(value) for value in self.prompt.point_labels],
                "box": box,
                "mask_input": self.prompt.mask_input is not None,
                "notes": list(self.prompt.notes),
            },
            "engine": self.title,
            "weights": self.weights,
            "image_size": self.image_size,
            "iou_predictions": [float(value) for value in self.iou],
            "chosen_mask": self.chosen,
            "area": self.area,
            "bbox": coco.toBbox(rle).tolist(),
            "rle": {"size": list(self.mask.shape), "counts": rle["counts"].decode("ascii")},
            "files": files,
        }
        return json.dumps(described, indent=2, ensure_ascii=False)


def segment(request: Request, weights: str, image_size: int) -> Answer:
    """Answer with the PyTorch model.

    Raises:
        MobileSAMError: image, prompt or weights cannot be used.
    """
    from mobilesam.model.build import load_model
    from mobilesam.runtimes.reference import ReferenceRunner

    pixels, frame, prompt = _prepare(request, image_size)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    model = load_model(weights, image_size=image_size)
    name = weights if model.weights is None else model.weights.name
    runner = ReferenceRunner(model)
    return _ask(runner, request, pixels, frame, prompt, name, lambda: "PyTorch")


def segment_with_bundle(request: Request, folder: Path, runtime: str | None) -> Answer:
    """Answer with a bundle's files, after verifying their digests.

    Raises:
        MobileSAMError: image, prompt or bundle cannot be used.
    """
    from mobilesam.bundle.contract import pack_prompt
    from mobilesam.bundle.manifest import Bundle
    from mobilesam.runtimes import open_runner

    bundle = Bundle(folder)
    bundle.verify()
    contract = bundle.manifest.contract
    pixels, frame, prompt = _prepare(request, contract.image_size)
    pack_prompt(prompt, frame, contract)  # too many points is an error before any file is loaded
    runner = open_runner(bundle, runtime or bundle.runtimes[0], threads=request.threads)
    name = bundle.manifest.weights.name

    def title() -> str:
        return f"{bundle.name} on {runner.engine}"  # known in full once the files are loaded

    return _ask(runner, request, pixels, frame, prompt, name, title)


def _prepare(request: Request, image_size: int) -> tuple[np.ndarray, Frame, Prompt]:
    """Photo, geometry and prompt, all checked before anything slow begins."""
    pixels = load_image(request.image)
    height, width = pixels.shape[:2]
    frame = Frame((height, width), image_size)
    labels: Sequence[float] | None = request.labels or None
    if request.points and labels is None:
        labels = [1.0] * len(request.points)
    prompt = make_prompt(
        request.points or None,
        labels,
        request.box,
        _read_logits(request.mask_input),
        original_size=frame.original_size,
        low_res_size=image_size // 4,
    )
    return pixels, frame, prompt


def _read_logits(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"there is no file of logits at '{path}'") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"'{path}' is not an .npy file of low-res logits as --logits writes it ({error})"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"'{path}' holds several arrays: give an .npy file that --logits wrote")
    return array


def _ask(
    runner: "Runner",
    request: Request,
    pixels: np.ndarray,
    frame: Frame,
    prompt: Prompt,
    weights: str,
    title: Callable[[], str],
) -> Answer:
    with runner:
        low_res, iou = runner.decode(runner.encode(pixels), prompt, frame)
        engine = title()
    chosen = choose_mask(prompt, iou)
    if request.multimask is not None:
        chosen = 1 + int(np.argmax(iou[1:])) if request.multimask else 0
    mask = upscale_logits(torch.from_numpy(low_res[None, chosen : chosen + 1]), frame)
    return Answer(
        image=str(request.image),
        image_size=frame.image_size,
        pixels=pixels,
        prompt=prompt,
        low_res=low_res,
        iou=iou,
        chosen=chosen,
        mask=(mask[0, 0] > MASK_THRESHOLD).numpy(),
        weights=weights,
        title=engine,
    )
