"""ARM cores: qemu runs an arm64 Python with each runtime's own aarch64 build on this machine.

Only the instructions are emulated; kernels, thread pools and graph optimisations are those that a
phone's core runs. Everything comes from Debian and PyPI and lies in one folder:

qemu/       qemu-user 10, for this machine (7.2, of Debian 12 itself, crashes in LiteRT)
root/       Python 3.11 for arm64 and the libraries that it loads
packages/   aarch64 wheels
python      starts the emulated Python; its CPU is that of the environment's ``QEMU_CPU``
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from mobilesam.emulators import debian
from mobilesam.emulators import folder as folder_of
from mobilesam.errors import MissingDependencyError, reason_of
from mobilesam.files import renewed_folder, write_whole

CPUS = {
    "cortex-a53": "neither float16 arithmetic nor int8 dot products (phones of 2014 to 2018)",
    "cortex-a76": "float16 arithmetic and int8 dot products (phones since 2019)",
    "neoverse-v1": "also int8 matrix products, bfloat16 and SVE (the instructions of new cores)",
}
"""What can be emulated, and what each core computes with."""

DEFAULT_CPU = "cortex-a76"

CPU_VARIABLE = "QEMU_CPU"
"""Environment variable by which qemu is told the CPU; processes that are started inherit it."""

QEMU = {"qemu-user": "bookworm-backports"}
PYTHON = {"python3.11": "bookworm", "libgomp1": "bookworm", "libstdc++6": "bookworm"}

WHEELS = {
    "numpy": "2.3.5",
    "ai-edge-litert": "2.3.0",
    "onnxruntime": "1.31.1",
    "backports.strenum": "1.2.8",
    "flatbuffers": "25.12.19",
    "ml_dtypes": "0.6.0",
    "packaging": "26.3",
    "protobuf": "7.36.2",
    "tqdm": "4.70.1",
    "typing_extensions": "4.12.2",
    "torch": "2.10.0",
    "executorch": "1.1.0",
    "filelock": "4.2.11",
    "fsspec": "2026.9.0",
    "Jinja2": "3.1.6",
    "MarkupSafe": "3.0.4",
    "mpmath": "1.3.0",
    "networkx": "3.6.1",
    "sympy": "1.14.0",
}
"""Versions of the aarch64 packages: those of ``constraints.txt``, so that x86 runs the same."""

OLDER = ("torch", "executorch")
"""Packages of an older version: PyPI's later wheels of PyTorch for aarch64 need NVIDIA's libraries,
and each ExecuTorch needs the PyTorch of its time."""

_GLIBCS = (17, 24, 27, 28, 34)
"""Second numbers of the glibc versions that wheels for Debian 12 (2.36) may ask for."""

_RECORD = ".wheels.json"

_START = """#!/bin/sh
here=$(dirname "$0")
unset LD_LIBRARY_PATH LD_PRELOAD PYTHONDONTWRITEBYTECODE
export PYTHONHOME="$here/root/usr" PYTHONPATH="$here/packages" PYTHONNOUSERSITE=1
export QEMU_CPU="${QEMU_CPU:-%s}"
exec "$here/qemu/usr/bin/qemu-aarch64" -L "$here/root" -0 "$0" \\
    "$here/root/usr/bin/python3.11" "$@"
"""
# Python takes the name that it was started by (-0) for its interpreter: processes that it starts
# with that come back here, as the machine itself cannot run an arm64 program.


def environment(cpu: str) -> dict[str, str]:
    """What the environment of the emulated Python must say beside what it says already.

    Args:
        cpu: one of :data:`CPUS`.
    """
    # The threads of numpy's OpenBLAS, which has nothing to do here, never sleep under qemu.
    return {CPU_VARIABLE: cpu, "OPENBLAS_NUM_THREADS": "1"}


def python() -> Path:
    """The program that is started like a Python interpreter; there after :func:`set_up`."""
    return folder_of("arm64") / "python"


def missing() -> str:
    """What is not there, in one sentence; empty where an ARM core can be emulated."""
    home = folder_of("arm64")
    host = debian.host()
    parts = {
        "qemu 10": debian.is_unpacked(QEMU, home / "qemu", architecture=host),
        "an arm64 Python": debian.is_unpacked(PYTHON, home / "root", architecture="arm64"),
        "aarch64 packages": _have_wheels(home / "packages"),
        "the script that starts them": python().is_file(),
    }
    absent = [name for name, there in parts.items() if not there]
    if not absent:
        return ""
    return f"no ARM core can be emulated without {', '.join(absent)}: run 'mobilesam phones'"


def set_up(*, say: debian.Said = lambda now: None) -> None:
    """Download and unpack what is missing.

    Args:
        say: called with what is being done.

    Raises:
        MissingDependencyError: this is no Linux machine that qemu is built for, or something
            cannot be downloaded or stored.
    """
    host = debian.require_host("ARM cores are emulated")
    home = folder_of("arm64")
    debian.unpack(QEMU, home / "qemu", architecture=host, say=say)
    debian.unpack(PYTHON, home / "root", architecture="arm64", say=say)
    with FileLock(home / "packages.lock"):  # another process may want the same
        if not _have_wheels(home / "packages"):
            say(f"{len(WHEELS)} aarch64 packages of PyPI")
            _install_wheels(home / "packages")
        write_whole(python(), _START % DEFAULT_CPU)
        python().chmod(0o755)


def _have_wheels(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _RECORD).read_text("utf-8")) == WHEELS)
    except (OSError, ValueError):
        return False


def _install_wheels(folder: Path) -> None:
    """Unpack the wheels with this environment's pip, which looks at none of their programs."""
    with renewed_folder(folder) as made:
        _pip([f"{name}=={version}" for name, version in WHEELS.items()], made)
        write_whole(made / _RECORD, json.dumps(WHEELS))


def _pip(requirements: Iterable[str], folder: Path) -> None:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in _GLIBCS]
    wanted = ["--only-binary=:all:", "--no-deps", "--no-compile", "--python-version", "3.11"]
    for name in (*platforms, "manylinux2014_aarch64"):
        wanted += ["--platform", name]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    try:
        done = subprocess.run([*command, *wanted, *requirements], capture_output=True, text=True)
    except OSError as error:
        raise MissingDependencyError(f"pip cannot be started ({reason_of(error)})") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (said or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MissingDependencyError(
            f"aarch64 packages cannot be had ('{reason.removeprefix('ERROR: ')}'): check that pip "
            "reaches PyPI from here"
        )
