"""How a bundle's file is opened for ``bisect``, and aligned: one row a target."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from torch import nn
from torch.export import ExportedProgram

from converters.coreml import convert as coreml
from converters.onnx import convert as onnx
from converters.tflite import convert as tflite
from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes import runner_class
from mobilesam.runtimes.bundle import Bundle
from parity.bisection.alignment import Aligned
from parity.bundles import require_any_photo, require_own_interface


class Format(NamedTuple):
    """One target.

    Attributes:
        module: the one here with ``open_aligned``, of a path, a captured program and its outputs.
        prepare: what the target's converter makes of a contract's module, in place, for a scheme.
    """

    module: str
    prepare: Callable[[nn.Module, str], nn.Module]


FORMATS = {
    "coreml": Format("coreml", coreml.prepare),
    "onnx": Format("onnx", onnx.prepare),
    "tflite": Format("tflite", tflite.prepare),
}
"""The targets whose files show the values inside them; files of other targets do not."""


def prepared(bundle: Bundle, module: nn.Module) -> nn.Module:
    """A contract's module, changed in place as the bundle's converter changed it."""
    manifest = bundle.manifest
    row = FORMATS.get(manifest.target)
    return row.prepare(module, manifest.scheme.name) if row else module


def require_format(bundle: Bundle) -> None:
    """Check that a bundle's files can be looked into.

    Raises:
        InputError: the target is not one of :data:`FORMATS`, or the interface not this project's.
    """
    require_own_interface(bundle, "its files' values are not held against PyTorch's")
    require_any_photo(bundle, "what its graph does before the network is not looked into")
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
    module = import_module(f"parity.bisection.{FORMATS[bundle.manifest.target].module}")
    path = bundle.file(component, runtime)
    function = bundle.record(component, runtime).function
    options = {"function": function} if function else {}
    outputs = [spec.name for spec in bundle.manifest.signatures[component].outputs]
    opened: Aligned = module.open_aligned(path, program, outputs, **options)
    values = (value.name for op in opened.engine.operations for value in op.outputs)
    if not any(name in opened.matches for name in values):
        raise BundleError(
            f"{path} names none of its values after the model's layers: export the bundle again"
        )
    return opened
