"""`mobilesam predict`: one photo, a mask for each object; from PyTorch or from exported files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.weights.demo import DEMO
from mobilesam_cli.options import (
    InsteadOfPyTorch,
    Json,
    MaxPixels,
    OneRuntime,
    OwnImageSize,
    OwnWeights,
    Threads,
    WeightsKey,
    keyed,
    print_json,
    read_logits,
    require_place,
    say,
    say_demo,
    written_atomically,
)
from mobilesam_cli.prompt_options import Boxes, Labels, Objects, Points, Typed, typed_objects

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

    from mobilesam.inference.image_predictor import ImagePredictor
    from mobilesam.inference.prompts import Prompt
    from mobilesam.inference.transforms import Frame
    from mobilesam.runtimes.bundle import Bundle

OVERLAY_SIDES = 480, 1024
"""A panel of the overlay is as long as the photo, within these bounds, in pixels."""


@dataclass(frozen=True)
class _Answer:
    """What came back.

    Attributes:
        pixels: the photo, HxWx3 uint8.
        low_res: logits of all four masks, [4, S/4, S/4].
        iou: their predicted IoU, [4].
        chosen: which of the four `mask` is.
        mask: HxW bool at the photo's size.
        image_size: side of the model's frame.
        weights: their name.
        engine: who computed it.
    """

    pixels: "np.ndarray"
    prompt: "Prompt"
    low_res: "np.ndarray"
    iou: "np.ndarray"
    chosen: int
    mask: "np.ndarray"
    image_size: int
    weights: str
    engine: str

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())


def predict(
    image: Annotated[Path, typer.Argument(help="The photo.", show_default=False)],
    point: Points = None,
    label: Labels = None,
    box: Boxes = None,
    objects: Objects = None,
    mask_input: Annotated[
        Path | None, typer.Option(help="Low-res logits that --logits wrote, to be refined.")
    ] = None,
    multimask: Annotated[
        bool | None,
        typer.Option(
            "--multimask/--single",
            help="Take the best of the three alternatives, or the single-mask output.",
            show_default="as SAM: alternatives for a lone point",
        ),
    ] = None,
    weights: OwnWeights = None,
    weights_key: WeightsKey = None,
    bundle: InsteadOfPyTorch = None,
    runtime: OneRuntime = None,
    image_size: OwnImageSize = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The mask as PNG, 0 or 255.", show_default="IMAGE-mask.png, here"),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the photo with prompt and mask, PNG or JPEG.")
    ] = None,
    logits: Annotated[
        Path | None, typer.Option(help="Also write the mask's low-res logits, .npy.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: Json = False,
) -> None:
    """Segment what a prompt points at, and write the mask."""
    typed = typed_objects(point, label, box, objects)
    if len(typed) > 1 and mask_input is not None:
        raise InputError("--mask-input refines one object's mask: give the prompt of that one")
    outs = _numbered(out or Path(f"{image.stem}-mask.png"), len(typed))
    several = [None] * len(typed) if logits is None else _numbered(logits, len(typed))
    for mask_file, logits_file in zip(outs, several, strict=True):
        _check_outputs(image, mask_file, overlay, logits_file)
    if bundle is not None and any(o is not None for o in (weights, weights_key, image_size)):
        raise InputError("a bundle has weights and image size of its own: drop those options")
    if bundle is None and runtime is not None:
        raise InputError("--runtime chooses among a bundle's runtimes: give --bundle too")

    if as_json:
        _require_coco()
    from mobilesam import Bundle

    opened = None if bundle is None else Bundle(bundle)
    size = opened.manifest.image_size if opened is not None else image_size or 1024
    pixels, frame, prompts = _checked(image, typed, mask_input, size)
    if opened is not None:
        answers = _with_bundle(opened, runtime, threads, pixels, frame, prompts, multimask)
    else:
        chosen = keyed(weights, weights_key) or DEMO
        answers = _with_pytorch(chosen, size, threads, pixels, prompts, multimask)
    picture = None if overlay is None else _overlay(answers)
    for answer, mask_file, logits_file in zip(answers, outs, several, strict=True):
        _write(answer, mask_file, logits_file)
        for note in answer.prompt.notes:
            say("note", note)
    if overlay is not None and picture is not None:
        with written_atomically(overlay) as temporary:
            picture.save(temporary)
    if answers[0].weights == DEMO:
        say_demo()
    described = []
    for answer, mask_file, logits_file in zip(answers, outs, several, strict=True):
        named = {"mask": mask_file, "overlay": overlay, "logits": logits_file}
        files = {name: str(path) for name, path in named.items() if path is not None}
        if as_json:
            described.append(_described(image, answer, files))
            continue
        typer.echo(
            f"{mask_file}: mask {answer.chosen}, predicted IoU {answer.iou[answer.chosen]:.3f}, "
            f"{answer.area} pixels ({100 * answer.area / answer.mask.size:.1f} %), {answer.engine}"
        )
        if logits_file is not None:
            typer.echo(f"{logits_file}: logits")
    if as_json:
        print_json(described[0] if len(described) == 1 else {"objects": described})
    elif overlay is not None:
        typer.echo(f"{overlay}: overlay")


def _numbered(path: Path, count: int) -> list[Path]:
    """The path, or for several objects one each: ``mask-1.png``, ``mask-2.png``, …"""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{n + 1}{path.suffix}") for n in range(count)]


def _check_outputs(image: Path, out: Path, overlay: Path | None, logits: Path | None) -> None:
    wanted: list[tuple[str, Path, tuple[str, ...]]] = [("--out", out, (".png",))]
    if overlay is not None:
        wanted.append(("--overlay", overlay, (".png", ".jpg", ".jpeg")))
    if logits is not None:
        wanted.append(("--logits", logits, (".npy",)))
    taken = [image]
    for option, path, suffixes in wanted:
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{option} must end in {' or '.join(suffixes)}, not '{path}'")
        require_place(option, path, *taken)
        taken.append(path)


def _with_pytorch(
    weights: str,
    image_size: int,
    threads: int | None,
    pixels: "np.ndarray",
    prompts: "list[Prompt]",
    multimask: bool | None,
) -> list[_Answer]:
    from mobilesam import Predictor, load_model
    from mobilesam.runtimes.checked import torch_threads

    model = load_model(weights, image_size=image_size)
    name = weights if model.weights is None else model.weights.name
    with torch_threads(threads), Predictor(model) as predictor:
        return _ask(predictor, pixels, prompts, multimask, name)


def _with_bundle(
    bundle: "Bundle",
    runtime: str | None,
    threads: int | None,
    pixels: "np.ndarray",
    frame: "Frame",
    prompts: "list[Prompt]",
    multimask: bool | None,
) -> list[_Answer]:
    from mobilesam.bundle.contract import pack_prompt

    # Too many points are an error before any file is loaded.
    for prompt in prompts:
        pack_prompt(prompt, frame, bundle.manifest.contract)
    with bundle.predictor(runtime, threads) as predictor:
        return _ask(predictor, pixels, prompts, multimask, bundle.manifest.weights.name)


def _checked(
    image: Path, objects: Sequence[Typed], mask_input: Path | None, image_size: int
) -> "tuple[np.ndarray, Frame, list[Prompt]]":
    """Photo, geometry and prompts, all checked before anything slow begins."""
    from mobilesam.inference.images import load_image
    from mobilesam.inference.prompts import make_prompt
    from mobilesam.inference.transforms import Frame

    pixels = load_image(image)
    height, width = pixels.shape[:2]
    frame = Frame((height, width), image_size)
    earlier = read_logits(mask_input)
    prompts = [
        make_prompt(
            typed.points or None,
            typed.labels or [1.0] * len(typed.points) or None,
            typed.box,
            earlier,
            original_size=frame.original_size,
            low_res_size=image_size // 4,
        )
        for typed in objects
    ]
    return pixels, frame, prompts


def _ask(
    predictor: "ImagePredictor",
    pixels: "np.ndarray",
    prompts: "list[Prompt]",
    multimask: bool | None,
    weights: str,
) -> list[_Answer]:
    """The answers, the photo encoded once."""
    predictor.set_image(pixels)
    return [_answer(predictor, pixels, prompt, multimask, weights) for prompt in prompts]


def _answer(
    predictor: "ImagePredictor",
    pixels: "np.ndarray",
    prompt: "Prompt",
    multimask: bool | None,
    weights: str,
) -> _Answer:
    from mobilesam.inference.answers import answer

    said = answer(predictor, prompt, multimask=multimask)
    return _Answer(
        pixels=pixels,
        prompt=prompt,
        low_res=said.low_res,
        iou=said.iou,
        chosen=said.chosen,
        mask=said.mask,
        image_size=predictor.image_size,
        weights=weights,
        engine=predictor.engine,
    )


def _described(image: Path, answer: _Answer, files: dict[str, str]) -> dict:
    """Everything but the pixels; the mask as COCO's compressed run-length encoding."""
    import numpy as np
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(answer.mask.astype(np.uint8)))
    prompt = answer.prompt
    return {
        "image": str(image),
        "size": list(answer.mask.shape),
        "prompt": {
            "points": prompt.point_coords.tolist(),
            "labels": [int(value) for value in prompt.point_labels],
            "box": None if prompt.box is None else prompt.box.tolist(),
            "mask_input": prompt.mask_input is not None,
            "notes": list(prompt.notes),
        },
        "engine": answer.engine,
        "weights": answer.weights,
        "image_size": answer.image_size,
        "iou_predictions": answer.iou.tolist(),
        "chosen_mask": answer.chosen,
        "area": answer.area,
        "bbox": coco.toBbox(rle).tolist(),
        "rle": {"size": list(answer.mask.shape), "counts": rle["counts"].decode("ascii")},
        "files": files,
    }


def _require_coco() -> None:
    from importlib.util import find_spec

    if find_spec("pycocotools") is None:
        raise _missing("--json encodes the mask", "pycocotools")


def _write(answer: _Answer, out: Path, logits: Path | None) -> None:
    import numpy as np
    from PIL import Image

    with written_atomically(out) as temporary:
        Image.fromarray(answer.mask.astype(np.uint8) * 255).save(temporary)
    if logits is not None:
        with written_atomically(logits) as temporary:
            np.save(temporary, answer.low_res[answer.chosen][None])


def _overlay(answers: Sequence[_Answer]) -> "Picture":
    """One object: prompt and mask side by side. Several: all of them on the photo."""
    try:
        from mobilesam.inference.drawing import draw_answer, draw_masks
    except ImportError as error:
        raise _missing("--overlay draws as the report does", error.name or "a library") from None
    import numpy as np
    from PIL import Image

    first = answers[0]
    if len(answers) > 1:
        pixels = first.pixels
        for answer in answers:
            side = max(pixels.shape[:2])
            drawn = draw_answer(pixels, answer.prompt, answer.mask, max_side=side)
            pixels = np.asarray(drawn)
        return Image.fromarray(pixels)
    smallest, largest = OVERLAY_SIDES
    side = min(largest, max(smallest, *first.mask.shape))
    return draw_masks(
        first.pixels, first.prompt, [first.mask], titles=[first.engine], max_side=side
    )


def _missing(what: str, library: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'{what}, which needs {library}: pip install "mobilesam-export[report]"'
    )
