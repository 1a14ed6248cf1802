"""How MobileSAM becomes files: Core ML, TFLite, ONNX, ExecuTorch, TorchScript and Core AI."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.exporting import export
    from converters.session import ExportResult

__all__ = ["ExportResult", "export"]

_HOMES = {"ExportResult": "converters.session", "export": "converters.exporting"}


def __getattr__(name: str) -> object:
    # Loaded on first use: importing the package loads neither torch nor a converter.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'converters' has no attribute '{name}'")
