"""MobileSAM in PyTorch: the reference that every exported file is judged against."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mobilesam.inference.predictor import Predictor
    from mobilesam.model.build import load_model

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "load_model"]

_HOMES = {"Predictor": "mobilesam.inference.predictor", "load_model": "mobilesam.model.build"}


def __getattr__(name: str) -> object:
    # Loaded on first use, so that `mobilesam --help` does not wait for torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mobilesam' has no attribute '{name}'")
