"""What a model is, in figures and in words."""

from typing import Any

from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.predictor import Predictor
from mobilesam.runtimes.bundle import BundlePredictor


def described(predictor: ImagePredictor) -> tuple[dict[str, Any], list[str]]:
    """What ``SAM.info`` says.

    Returns:
        ``weights``, ``engine``, ``image_size``, ``parameters``, ``size_bytes``; and a line for each
        component of a model, or each file of a bundle.
    """
    about: dict[str, Any] = {"engine": predictor.engine, "image_size": predictor.image_size}
    if isinstance(predictor, BundlePredictor):
        manifest = predictor.bundle.manifest
        sizes = {file.path: file.size_bytes for file in manifest.files}
        parts = [f"{path}: {size / 1e6:.1f} MB" for path, size in sizes.items()]
        more = {"parameters": None, "size_bytes": predictor.size_bytes}
        return {"weights": manifest.weights.name, **about, **more}, parts
    if not isinstance(predictor, Predictor):
        raise TypeError(f"no predictor of SAM's: {predictor!r}")
    model = predictor.model
    counts = {
        name: sum(each.numel() for each in part.parameters())
        for name, part in model.named_children()
    }
    about["parameters"] = sum(counts.values())
    about["size_bytes"] = sum(each.nbytes for each in model.parameters())
    weights = "of no file" if model.weights is None else model.weights.name
    return {"weights": weights, **about}, [f"{n}: {c:,} parameters" for n, c in counts.items()]
