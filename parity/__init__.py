"""Is what ships still MobileSAM? Masks, size and latency of exported files against PyTorch.

    from parity import bisect, compare, evaluate

:func:`compare` judges bundles, :func:`evaluate` scores masks against those that people drew, and
:func:`bisect` names the op at which a file leaves PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.bisection.run import bisect
    from parity.comparison import compare
    from parity.evaluation.evaluate import evaluate

__all__ = ["bisect", "compare", "evaluate"]

# None of these modules may have its function's name: once imported, it would stand in its place.
_HOMES = {
    "bisect": "parity.bisection.run",
    "compare": "parity.comparison",
    "evaluate": "parity.evaluation.evaluate",
}


def __getattr__(name: str) -> object:
    # Loaded on first use, so that the command line does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'parity' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
