"""MobileSAM in PyTorch, and the bundles of exported files that draw its masks.

The names below are loaded on first use, so that a command line or a process that runs exported
files alone does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mobilesam.annotation.auto import auto_annotate
    from mobilesam.inference.predictor import Predictor
    from mobilesam.model.build import load_model
    from mobilesam.runtimes.bundle import Bundle
    from mobilesam.sam.model import SAM

__version__ = "0.1.0"
__all__ = ["SAM", "Bundle", "Predictor", "__version__", "auto_annotate", "load_model"]

_HOMES = {
    "Bundle": "mobilesam.runtimes.bundle",
    "SAM": "mobilesam.sam.model",
    "Predictor": "mobilesam.inference.predictor",
    "auto_annotate": "mobilesam.annotation.auto",
    "load_model": "mobilesam.model.build",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mobilesam' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
