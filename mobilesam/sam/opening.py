"""What a user names, opened: weights in PyTorch, or a bundle's files on their runtime."""

import logging
from pathlib import Path

import torch

from mobilesam.bundle.manifest import MANIFEST_NAME, BundleFolder
from mobilesam.errors import InputError
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.predictor import Predictor
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import BundlePredictor
from mobilesam.weights.kinds import kind_of_folder

UPSTREAM_NAME = "mobile_sam.pt"
"""Name of the official checkpoint, which stands for it where there is no such file."""

DEFAULT_SIZE = 1024

_LOG = logging.getLogger(__name__)

Model = str | Path | MobileSAM | BundleFolder


def open_predictor(
    model: Model,
    *,
    imgsz: int | None,
    runtime: str | None,
    threads: int | None,
) -> ImagePredictor:
    """A predictor of a model or of a bundle's files; all arguments are those of ``SAM``.

    Raises:
        MobileSAMError: as ``SAM`` does.
    """
    if imgsz is not None:
        require_count("imgsz", imgsz)
    if isinstance(model, str | Path):
        path = Path(model).expanduser()
        if path.is_dir():
            model = _bundle_in(path)
        elif path.is_file() and (path.parent / MANIFEST_NAME).is_file():
            raise InputError(f"'{model}' is a file of a bundle: give the bundle's folder")
    if isinstance(model, BundleFolder):
        side = model.manifest.image_size
        if imgsz not in (None, side):
            raise InputError(
                f"{model.path} takes photos in a frame of {side} pixels, not {imgsz}: export one "
                f"with --image-size {imgsz}"
            )
        return BundlePredictor(model, runtime, threads)
    if runtime is not None:
        raise InputError("a runtime runs a bundle's files: give a bundle's folder, or no runtime")
    if isinstance(model, MobileSAM):
        if imgsz not in (None, model.image_size):
            raise InputError(
                f"this model's frame has a side of {model.image_size} pixels, not {imgsz}: load it "
                "with the image_size that is wanted"
            )
        return Predictor(model)
    if model == UPSTREAM_NAME and not Path(model).exists():
        _LOG.info("there is no '%s' here: the official checkpoint is taken", model)
        model = "official"
    return Predictor(load_model(model, image_size=DEFAULT_SIZE if imgsz is None else imgsz))


def require_count(name: str, value: object) -> None:
    """Raises InputError: not a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")


def _bundle_in(folder: Path) -> BundleFolder:
    if (folder / MANIFEST_NAME).is_file():
        return BundleFolder(folder)
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_NAME}"))
    hint = f": give one bundle, such as '{inside[0]}'" if inside else ""
    raise InputError(
        f"'{folder}' is {kind_of_folder(folder)} and no bundle, which has a {MANIFEST_NAME}{hint}"
    )


def device_of(name: str | int | torch.device) -> torch.device:
    """A device by name, such as ``"cpu"``, ``"cuda:0"``, or a GPU's number.

    Raises:
        InputError: there is no such device.
    """
    text = str(name)
    try:
        device = torch.device(f"cuda:{text}" if text.isdigit() else text)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"the device '{name}' cannot be used here ({reason})") from None
    return device
