"""Constants of an ExecuTorch program for Apple: those of the Core ML package inside."""

from pathlib import Path

from mobilesam.runtimes.executorch_coreml import package_of
from parity.weight_audit import coreml
from parity.weight_audit.constants import Constant


def read_constants(path: Path) -> list[Constant]:
    """The floating-point constants that the package's ops compute with.

    Raises:
        BundleError: the file or the package inside cannot be read.
    """
    with package_of(path) as (_, package):
        return coreml.read_constants(package)
