"""What a model is, in figures and in words."""

from typing import Any

from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.predictor import Predictor
from mobilesam.runtimes.bundle import BundlePredictor


def described(predictor: ImagePredictor) -> tuple[dict[str, Any], list[str]]:
    """What ``SAM.info`` returns, and the lines that it prints.

    The first line is about the whole; the others are of a model's components or a bundle's files.
    """
    about: dict[str, Any] = {}
    if isinstance(predictor, BundlePredictor):
        manifest = predictor.bundle.manifest
        about["variant"], about["weights"] = manifest.variant, manifest.weights.name
        about["parameters"], about["size_bytes"] = None, predictor.size_bytes
        sizes = {file.path: file.size_bytes for file in manifest.files}
        parts = [f"  {path}: {size / 1e6:.1f} MB" for path, size in sizes.items()]
    elif isinstance(predictor, Predictor):
        model = predictor.model
        weights = "of no file" if model.weights is None else model.weights.name
        about["variant"], about["weights"] = model.variant, weights
        counts = {
            name: sum(each.numel() for each in part.parameters())
            for name, part in model.named_children()
        }
        about["parameters"] = sum(counts.values())
        about["size_bytes"] = sum(each.nbytes for each in model.parameters())
        parts = [f"  {name}: {count:,} parameters" for name, count in counts.items()]
    else:
        raise TypeError(f"neither a model's predictor nor a bundle's: {predictor!r}")
    about["image_size"], about["engine"] = predictor.image_size, predictor.engine
    amount = [] if about["parameters"] is None else [f"{about['parameters']:,} parameters"]
    said = [
        f"SAM {about['variant']} with weights {about['weights']}",
        *amount,
        f"{about['size_bytes'] / 1e6:.1f} MB",
        f"frame {about['image_size']} x {about['image_size']}",
        about["engine"],
    ]
    return about, [", ".join(said), *parts]
