"""How a bundle's file is opened for ``bisect``, and aligned: one row a target."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from torch.export import ExportedProgram

from converters.bundle import Bundle
from converters.contract import Component
from mobilesam.errors import BundleError, InputError
from parity.bisect.alignment import Aligned
from parity.runners import runner_class

Opener = Callable[[Path, ExportedProgram, Sequence[str]], Aligned]


FORMATS = {"coreml": "coreml", "onnx": "onnx", "tflite": "tflite"}
"""By target the module here that has an :data:`Opener` named ``open_aligned``; of other targets
the values inside a file cannot be read."""


def require_format(bundle: Bundle) -> None:
    """Check that a bundle's files can be looked into.

    Raises:
        InputError: the target is not one of :data:`FORMATS`.
    """
    target = bundle.manifest.target
    if target not in FORMATS:
        raise InputError(
            f"the values inside a file of target '{target}' cannot be read, only of "
            f"{', '.join(FORMATS)}: give a bundle of one of these"
        )


def open_engine(
    bundle: Bundle, component: Component, runtime: str, program: ExportedProgram
) -> Aligned:
    """A component's file, opened, beside the captured model.

    Raises:
        InputError: the target is not one of :data:`FORMATS`.
        MissingDependencyError: its runtime is not installed.
        BundleError: the file cannot be read, or none of its values can be told.
    """
    require_format(bundle)
    runner_class(runtime)  # refuses in words where the library is not installed
    module = import_module(f"parity.bisect.{FORMATS[bundle.manifest.target]}")
    open_aligned: Opener = module.open_aligned
    path = bundle.file(component, runtime)
    outputs = [spec.name for spec in bundle.manifest.signatures[component].outputs]
    opened = open_aligned(path, program, outputs)
    values = (value.name for op in opened.engine.operations for value in op.outputs)
    if not any(name in opened.matches for name in values):
        raise BundleError(
            f"{path} names none of its values after the model's layers: export the bundle again"
        )
    return opened
