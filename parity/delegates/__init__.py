"""Which ops of a bundle's files stay outside a phone's accelerator, and why, without running them.

A delegate takes over the ops that it knows; the others stay on the CPU, and each border between the
two costs a copy. Some are asked here, others are known by rules that are written down with their
source. Adding one is one module with ``ask(path, record)`` and one row.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from mobilesam.bundle.manifest import FileRecord
from mobilesam.errors import MissingDependencyError, reason_of
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import RUNNERS
from parity.delegates.records import Answer, Found

Ask = Callable[[Path, FileRecord], Found]


class Delegate(NamedTuple):
    """One accelerator.

    Attributes:
        title: what it is, in words.
        runtimes: whose files it takes.
    """

    title: str
    runtimes: tuple[str, ...]


DELEGATES: dict[str, Delegate] = {
    "xnnpack": Delegate("XNNPACK (CPU)", ("litert", "executorch")),
    "litert_gpu": Delegate("LiteRT GPU", ("litert",)),
    "qualcomm_htp": Delegate("Qualcomm HTP (NPU)", ("litert", "onnxruntime")),
    "neural_engine": Delegate("Apple Neural Engine", ("coreml",)),
}
"""By the name of the module here."""


def ask_delegates(bundle: Bundle) -> Iterator[Answer]:
    """What every delegate that takes a bundle's files says of each of them, one by one.

    A delegate that is not here, or fails, is one answer without numbers that says why.

    Args:
        bundle: the opened bundle; its digests are not looked at.
    """
    for name, delegate in DELEGATES.items():
        for record in bundle.manifest.files:
            if record.runtime not in delegate.runtimes:
                continue
            found = _found(name, bundle, record)
            yield Answer(delegate.title, record.component, record.path, found)


def _found(name: str, bundle: Bundle, record: FileRecord) -> Found:
    try:
        ask = cast(Ask, import_module(f"{__name__}.{name}").ask)
        return ask(bundle.file(record.component, record.runtime), record)
    except ModuleNotFoundError as error:
        extra = RUNNERS[record.runtime].extra
        return Found.unknown(
            f'{error.name} is not installed: pip install "mobilesam-export[{extra}]"'
        )
    except MissingDependencyError as error:
        return Found.unknown(str(error))
    except Exception as error:  # readers of other formats raise whatever they do
        return Found.unknown(f"'{record.path}' cannot be read ({reason_of(error)})")
