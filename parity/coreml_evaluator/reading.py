"""The saved package, as coremltools reads it: spec and weights from disk."""

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mobilesam.errors import BundleError
from parity.coreml_evaluator.arguments import UnknownOpError


def read_function(path: Path, name: str, known_ops: Container[str]) -> tuple[Any, int]:
    """One function of an ML Program, as coremltools' ``Function``, and the spec's version.

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
    return program.functions[name], int(spec.specificationVersion)


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


@contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' warnings about library versions and about not being on a Mac."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
