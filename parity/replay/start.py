"""Start the ``run.py`` of a replay folder on this machine."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mobilesam.emulators import arm64
from mobilesam.errors import InputError
from parity.replay.run import COMPUTE_UNITS


def run_folder(
    folder: Path,
    *,
    compute_units: Sequence[str] = (),
    bundles: Sequence[str] = (),
    threads: int | None = None,
    python: Path | None = None,
    emulated_cpu: str = "",
    quiet: bool = False,
) -> int:
    """Run ``run.py`` of a folder; what it prints goes to the terminal.

    Args:
        folder: the replay folder.
        compute_units: what Core ML may use, in upper or lower case; a result for each of several.
        bundles: names of those to run; empty: all.
        threads: of the runtime; None leaves its own choice.
        python: an interpreter that has numpy and the runtime; None takes this one.
        emulated_cpu: what qemu, which runs this interpreter, is to emulate; empty: none does.
        quiet: keep what it prints to itself, but for errors.

    Returns:
        Its exit status.

    Raises:
        InputError: the folder has no ``run.py``, a compute unit is unknown, or the interpreter
            cannot be started.
    """
    script = folder / "run.py"
    if not script.is_file():
        raise InputError(f"'{folder}' is not a replay folder: it has no run.py")
    units = [name.upper() for name in compute_units]
    unknown = [name for name in units if name not in COMPUTE_UNITS]
    if unknown:
        raise InputError(
            f"unknown compute units '{unknown[0].lower()}', known: "
            f"{', '.join(COMPUTE_UNITS).lower()}"
        )
    command = [str(python or sys.executable), str(script)]
    if units:
        command += ["--compute-units", *units]
    if bundles:
        command += ["--bundle", *bundles]
    if threads:
        command += ["--threads", str(threads)]
    if emulated_cpu:
        command += ["--emulated-cpu", emulated_cpu]
    told = arm64.environment(emulated_cpu) if emulated_cpu else {}
    printed = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, env=os.environ | told, stdout=printed).returncode
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"--python '{python}' cannot be started ({reason})") from None
