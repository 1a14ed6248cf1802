"""What a function's description says of its inputs and outputs: shapes that vary, and images."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from coreml_evaluator.errors import ProgramError


class Flexible(NamedTuple):
    """The shapes that an input may have: those listed, or any within the bounds.

    Attributes:
        shapes: ``EnumeratedShapes``, each a shape; empty where there are bounds.
        bounds: ``RangeDim``, least and largest side of each dimension.
    """

    shapes: tuple[tuple[int, ...], ...]
    bounds: tuple[tuple[int, int], ...]

    def every(self) -> tuple[tuple[int, ...], ...]:
        """All shapes that the input may have."""
        return self.shapes or tuple(product(*(range(low, high + 1) for low, high in self.bounds)))

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Whether the input may have a shape."""
        if self.shapes:
            return shape in self.shapes
        return len(shape) == len(self.bounds) and all(
            low <= side <= high for side, (low, high) in zip(shape, self.bounds, strict=True)
        )

    def __str__(self) -> str:
        if self.shapes:
            return "one of " + ", ".join(str(list(shape)) for shape in self.shapes)
        spans = (str(low) if low == high else f"{low}..{high}" for low, high in self.bounds)
        return f"[{', '.join(spans)}]"


class Interface(NamedTuple):
    """Inputs of a function that are more than a tensor of fixed shape.

    Attributes:
        flexible: by name, the inputs whose shape is not fixed.
        images: names of the inputs that an app gives as RGB pixel buffers.
    """

    flexible: dict[str, Flexible]
    images: frozenset[str]


def read_interface(path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> Interface:
    """Check and read a function's feature descriptions.

    Args:
        path: of the package, for errors.
        inputs, outputs: ``FeatureDescription`` messages of Core ML's specification.

    Raises:
        ProgramError: one is neither a tensor nor an RGB image of fixed size as input.
    """
    images = frozenset(f.name for f in inputs if f.type.WhichOneof("Type") == "imageType")
    for feature in inputs:
        if feature.name in images:
            _check_image(path, feature)
    for feature in (*inputs, *outputs):
        kind = feature.type.WhichOneof("Type")
        if kind != "multiArrayType" and not (kind == "imageType" and feature in inputs):
            raise ProgramError(
                f"{path}: '{feature.name}' is a Core ML {kind}, and the evaluator knows tensors "
                "(multiArrayType) and image inputs only: check this program on a Mac"
            )
    flexible = {f.name: flexible_of(f.type.multiArrayType) for f in inputs}
    return Interface({name: found for name, found in flexible.items() if found}, images)


def _check_image(path: Path, feature: Any) -> None:
    image = feature.type.imageType
    layout = image.ColorSpace.Name(image.colorSpace)
    if layout != "RGB":
        raise ProgramError(
            f"{path}: the image '{feature.name}' is {layout}, and the evaluator knows RGB only: "
            "convert with color_layout RGB"
        )
    if image.WhichOneof("SizeFlexibility"):
        raise ProgramError(
            f"{path}: the image '{feature.name}' is of flexible size, and the evaluator knows "
            "images of one size only: convert with a fixed shape"
        )


def flexible_of(array: Any) -> Flexible | None:
    """Which shapes an ``ArrayFeatureType`` message allows; None: the one it states."""
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        return Flexible(tuple(tuple(each.shape) for each in array.enumeratedShapes.shapes), ())
    if kind == "shapeRange":
        ranges = array.shapeRange.sizeRanges
        return Flexible((), tuple((each.lowerBound, each.upperBound) for each in ranges))
    return None
