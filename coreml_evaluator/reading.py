"""The saved package, as coremltools reads it: spec and weights from disk."""

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from coreml_evaluator.arguments import UnknownOpError
from mobilesam.errors import BundleError


class Flexible(NamedTuple):
    """The shapes that an input may have: those listed, or any within the bounds.

    Attributes:
        shapes: ``EnumeratedShapes``, each a shape; empty where there are bounds.
        bounds: ``RangeDim``, least and largest side of each dimension; None is unbounded.
    """

    shapes: tuple[tuple[int, ...], ...]
    bounds: tuple[tuple[int, int | None], ...]

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Whether the input may have a shape."""
        if self.shapes:
            return shape in self.shapes
        return len(shape) == len(self.bounds) and all(
            low <= side and (high is None or side <= high)
            for side, (low, high) in zip(shape, self.bounds, strict=True)
        )

    def __str__(self) -> str:
        if self.shapes:
            return "one of " + ", ".join(str(list(shape)) for shape in self.shapes)
        return f"[{', '.join(_span(*bounds) for bounds in self.bounds)}]"


class Read(NamedTuple):
    """What was read of a package.

    Attributes:
        function: coremltools' ``Function``.
        spec_version: of Core ML's file format.
        flexible: by name, the inputs whose shape is not fixed.
    """

    function: Any
    spec_version: int
    flexible: dict[str, Flexible]


def read_function(path: Path, name: str, known_ops: Container[str]) -> Read:
    """One function of an ML Program.

    Args:
        path: an ``.mlpackage``.
        name: of the function.
        known_ops: op types that may occur.

    Raises:
        BundleError: the package is missing, damaged, not an ML Program, takes or gives something
            other than tensors, or has no such function.
        UnknownOpError: an op of the function is not among ``known_ops``.
    """
    if not path.is_dir():
        raise BundleError(f"{path} is not an .mlpackage: it is not a folder")
    with quiet():
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto.load import load

        try:
            model = ct.models.MLModel(str(path), skip_model_load=True)
            spec = model.get_spec()
        except Exception as error:  # protobuf and file errors of many types
            raise _unreadable(path, error) from error
        _check_interface(path, spec)
        if name not in spec.mlProgram.functions:
            raise BundleError(
                f"{path} has no function '{name}', only {', '.join(spec.mlProgram.functions)}"
            )
        _check_ops(path, spec.mlProgram.functions[name], known_ops)
        try:
            program = load(spec, spec.specificationVersion, model.weights_dir)
        except Exception as error:  # coremltools raises any type for what it cannot read
            raise _unreadable(path, error) from error
    return Read(program.functions[name], int(spec.specificationVersion), _flexible(spec, name))


def dtype_name(var: Any) -> str:
    """Core ML's name of a variable's dtype, such as ``fp16``."""
    from coremltools.converters.mil.mil import types

    return str(types.builtin_to_string(var.dtype))


def _unreadable(path: Path, error: Exception) -> BundleError:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return BundleError(f"{path} cannot be read by coremltools ({reason}), export the bundle again")


def _check_interface(path: Path, spec: Any) -> None:
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise BundleError(
            f"{path} is of Core ML's kind '{kind or 'empty'}', not an ML Program: export the "
            "bundle again"
        )
    for feature in (*spec.description.input, *spec.description.output):
        kind = feature.type.WhichOneof("Type")
        if kind != "multiArrayType":
            raise BundleError(
                f"{path}: '{feature.name}' is a Core ML {kind}, and the evaluator knows "
                "multiArrayType only: check this program on a Mac"
            )


def _check_ops(path: Path, function: Any, known_ops: Container[str]) -> None:
    """Name the first op that is not known, before coremltools tries to read it."""
    for operation in function.block_specializations[function.opset].operations:
        if operation.type != "const" and operation.type not in known_ops:
            name = operation.outputs[0].name if operation.outputs else ""
            raise UnknownOpError(
                f"{path} has the Core ML op '{operation.type}' named '{name}', which the "
                "evaluator does not know: check this program on a Mac"
            )


def _flexible(spec: Any, name: str) -> dict[str, Flexible]:
    described = [each for each in spec.description.functions if each.name == name]
    found = {}
    for feature in (described[0] if described else spec.description).input:
        array = feature.type.multiArrayType
        kind = array.WhichOneof("ShapeFlexibility")
        if kind == "enumeratedShapes":
            listed = array.enumeratedShapes.shapes
            found[feature.name] = Flexible(tuple(tuple(each.shape) for each in listed), ())
        elif kind == "shapeRange":
            ranges = array.shapeRange.sizeRanges
            found[feature.name] = Flexible(
                (),
                tuple((r.lowerBound, r.upperBound if r.upperBound > 0 else None) for r in ranges),
            )
    return found


def _span(low: int, high: int | None) -> str:
    return str(low) if low == high else f"{low}..{'' if high is None else high}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' warnings about library versions and about not being on a Mac."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
