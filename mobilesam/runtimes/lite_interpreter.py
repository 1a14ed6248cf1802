"""TorchScript files of the lite interpreter (``.ptl``), PyTorch's former mobile runtime."""

import json
import warnings
import zipfile
from pathlib import Path

from torch.jit.mobile import _load_for_lite_interpreter

from mobilesam.bundle.contract import Component
from mobilesam.bundle.manifest import TORCHSCRIPT_EXTRA
from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import version_of
from mobilesam.runtimes.torchscript import TorchScriptRunner


class LiteInterpreterRunner(TorchScriptRunner):
    """The bytecode interpreter of PyTorch Mobile, in this process."""

    name = "lite_interpreter"

    @property
    def engine(self) -> str:
        return f"lite interpreter (PyTorch {version_of('torch')})"

    def open_file(self, component: Component, path: Path) -> object:
        _check_component(component, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return _load_for_lite_interpreter(str(path), map_location="cpu")


def _check_component(component: Component, path: Path) -> None:
    """Look at what the exporter wrote into the archive.

    The interpreter keeps no signature, and given the wrong number of tensors it crashes.

    Raises:
        BundleError: the file is another component, or does not say.
    """
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith(f"/extra/{TORCHSCRIPT_EXTRA}")]
        found = json.loads(archive.read(names[0]))["component"] if names else "no component"
    if found != component:
        raise BundleError(
            f"{path} is not what its manifest says: it holds {found}, not {component}"
        )
