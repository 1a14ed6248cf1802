"""What files and their manifest say, held against the contract: names, shapes, dtypes, versions.

An app, or Xcode, goes by what a file says of itself. One reader for each format puts that into one
form (:mod:`parity.description.records`), which is compared with the contract, and with the program
in the file where that is something else. Nothing is run.
"""

from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from mobilesam.bundle.manifest import FileRecord, Manifest
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import first_line
from mobilesam.runtimes.table import RUNNERS
from parity.description.comparison import differences
from parity.description.manifest import manifest_differences
from parity.description.records import Description

READERS = {
    "torchscript": "torchscript",
    "lite_interpreter": "torchscript",
    "coreml": "coreml",
    "litert": "tflite",
    "onnxruntime": "onnx",
    "executorch": "executorch",
    "executorch_coreml": "executorch_coreml",
    "coreai": "coreai",
}
"""The module here that reads the files of each runtime."""

Reader = Callable[[Path, FileRecord, Manifest], Description]


def description_differences(
    bundle: Bundle, runtime: str, altered: Collection[str] = ()
) -> Iterator[str]:
    """Every way in which a bundle's manifest and its files for a runtime say what is not so.

    Args:
        bundle: the opened bundle.
        runtime: one of ``bundle.runtimes``.
        altered: paths of files that are not as exported; they are not read.

    Yields:
        Sentences such as ``coreml encoder: input 'image' is described as ImageType BGR 256x256,
        the contract says ImageType RGB 256x256``.
    """
    manifest = bundle.manifest
    found = manifest_differences(bundle, runtime, altered)
    yield from (f"manifest: {clause}" for clause in dict.fromkeys(found))
    for record in manifest.files:
        if record.runtime != runtime or record.path in altered or runtime not in READERS:
            continue
        where = f"{manifest.target} {record.component}"
        yield from (f"{where}: {clause}" for clause in _of_file(bundle, record))


def _of_file(bundle: Bundle, record: FileRecord) -> list[str]:
    try:
        path = bundle.file(record.component, record.runtime)
        read = cast(Reader, import_module(f"{__name__}.{READERS[record.runtime]}").read)
        found = read(path, record, bundle.manifest)
        return list(dict.fromkeys(differences(found, bundle.manifest, record)))
    except ModuleNotFoundError as error:
        extra = RUNNERS[record.runtime].extra
        return [
            f"its description cannot be read without {error.name}: pip install "
            f'"mobilesam-export[{extra}]"'
        ]
    except BundleError as error:
        return [str(error)]
    except Exception as error:  # readers of other formats raise whatever they do
        return [f"'{record.path}' does not say what it is ({first_line(error)})"]
