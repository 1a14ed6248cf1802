"""The saved package, as coremltools reads it: spec and weights from disk."""

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from coreml_evaluator.errors import ProgramError, UnknownOpError
from coreml_evaluator.interface import Interface, read_interface


class Read(NamedTuple):
    """What was read of a package.

    Attributes:
        name: of the function.
        function: coremltools' ``Function``.
        spec_version: of Core ML's file format.
        interface: of the function.
    """

    name: str
    function: Any
    spec_version: int
    interface: Interface


def functions_of(path: str | Path) -> tuple[str, ...]:
    """Names of a package's functions, in its order: ``main``, unless it is a multifunction one.

    Raises:
        ProgramError: the package is missing, damaged, or not an ML Program.
    """
    _, spec = _open(Path(path))
    return _names(spec)


def read_function(path: Path, name: str | None, known_ops: Container[str]) -> Read:
    """One function of an ML Program.

    Args:
        path: an ``.mlpackage``.
        name: of the function; None takes the only one, or the package's default.
        known_ops: op types that may occur.

    Raises:
        ProgramError: the package is missing, damaged, not an ML Program, has no such function or
            no default one, or the function takes or gives what the evaluator does not know.
        UnknownOpError: an op of the function is not among ``known_ops``.
    """
    weights, spec = _open(path)
    names = _names(spec)
    name = name or spec.description.defaultFunctionName or (names[0] if len(names) == 1 else "")
    if not name:
        raise ProgramError(
            f"{path} has several functions and no default, name one of {', '.join(names)}"
        )
    if name not in spec.mlProgram.functions:
        raise ProgramError(f"{path} has no function '{name}', only {', '.join(names)}")
    described = [each for each in spec.description.functions if each.name == name]
    features = described[0] if described else spec.description
    interface = read_interface(path, features.input, features.output)
    _check_ops(path, spec.mlProgram.functions[name], known_ops)
    for other in names:
        if other != name:
            del spec.mlProgram.functions[other]
    with quiet():
        from coremltools.converters.mil.frontend.milproto.load import load

        try:
            program = load(spec, spec.specificationVersion, weights)
        except Exception as error:  # coremltools raises any type for what it cannot read
            raise _unreadable(path, error) from error
    return Read(name, program.functions[name], int(spec.specificationVersion), interface)


def dtype_name(var: Any) -> str:
    """Core ML's name of a variable's dtype, such as ``fp16``."""
    from coremltools.converters.mil.mil import types

    return str(types.builtin_to_string(var.dtype))


def _open(path: Path) -> tuple[str, Any]:
    """A package's folder of weights and its specification."""
    if not path.is_dir():
        raise ProgramError(f"{path} is not an .mlpackage: it is not a folder")
    with quiet():
        import coremltools as ct

        try:
            model = ct.models.MLModel(str(path), skip_model_load=True)
            spec = model.get_spec()
        except Exception as error:  # protobuf and file errors of many types
            raise _unreadable(path, error) from error
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise ProgramError(
            f"{path} is of Core ML's kind '{kind or 'empty'}', not an ML Program: export the "
            "bundle again"
        )
    return model.weights_dir, spec


def _names(spec: Any) -> tuple[str, ...]:
    described = tuple(each.name for each in spec.description.functions)
    return described or tuple(spec.mlProgram.functions)


def _unreadable(path: Path, error: Exception) -> ProgramError:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return ProgramError(f"{path} cannot be read by coremltools ({reason}), export the bundle again")


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
