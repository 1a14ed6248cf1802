"""What old runtimes make of exported files: right masks, a refusal, a crash, or wrong masks.

    python -m benchmarks.old_runtimes EXPORTS/tflite-* EXPORTS/onnx-* --environments ENVIRONMENTS

Each version of a runtime is installed with pip into a virtual environment of its own, which is kept
and used again. A replay folder (:mod:`parity.replay`) is packed once, its ``run.py`` answers every
case in each environment, encoder and decoder in a process of their own, and the answers are judged
here as those of any runtime are. Printed is a table, as Markdown.

The least version that is right is what ``least_tested`` states in :mod:`converters.schemes`.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console

from mobilesam.errors import MobileSAMError
from parity.bundles import open_bundles
from parity.replay.merge import merge
from parity.replay.pack import pack
from parity.replay.run import RESULTS
from parity.schema import BundleReport

VERSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "litert": (
            "tflite-runtime==2.14.0",
            *(
                f"ai-edge-litert=={version}"
                for version in (
                    *("1.0.1", "1.1.2", "1.2.0", "1.3.0", "1.4.0"),
                    *("2.0.2", "2.0.3", "2.1.0", "2.1.6", "2.3.0"),
                )
            ),
        ),
        "onnxruntime": tuple(
            f"onnxruntime=={version}"
            for version in ("1.16.3", "1.17.3", "1.18.1", "1.20.1", "1.24.4", "1.31.1")
        ),
    }
)
"""What pip installs of each runtime, the oldest first."""

NUMPY = "numpy<2"
"""The oldest runtimes were built against it, the newest still take it."""

NOT_RUN, KILLED = "could not be run", "was killed by signal"
"""How a report says that there are no masks, and that a process crashed."""


def environment(requirement: str, folder: Path) -> Path:
    """The interpreter of the virtual environment with a requirement, made where there is none.

    Raises:
        MobileSAMError: pip cannot install it.
    """
    home = folder / requirement.replace("==", "-")
    python, finished = home / "bin" / "python", home / "finished"
    if not finished.exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", requirement, NUMPY]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MobileSAMError(f"'{requirement}' cannot be installed here ({reason})")
        finished.touch()
    return python


def outcome(judged: BundleReport) -> str:
    """A verdict in a word: right, wrong, refused or crashed."""
    said = " ".join(judged.reasons)
    if NOT_RUN in said:
        return "crashed" if KILLED in said else "refused"
    return "right" if judged.verdict == "PASS" else "wrong"


def answers(
    bundles: Sequence[Path], folder: Path, requirements: Sequence[str], images: Path | None
) -> dict[str, dict[str, BundleReport]]:
    """How each bundle is judged on each version of its runtime: by requirement, by bundle.

    Args:
        bundles: their folders.
        folder: of the environments.
        requirements: what pip installs, a version each; empty: all of the bundles' runtimes.
        images: photos to judge on; None: the built-in ones.
    """
    opened = open_bundles(list(bundles))
    runtimes = {runtime for bundle in opened for runtime in bundle.runtimes}
    known = [each for runtime in runtimes & {*VERSIONS} for each in VERSIONS[runtime]]
    found: dict[str, dict[str, BundleReport]] = {}
    with tempfile.TemporaryDirectory(prefix="old-runtimes-") as scratch:
        packed = Path(scratch) / "pack"
        pack(opened, packed, images=images, progress=False)
        for requirement in requirements or known:
            python = environment(requirement, folder)
            command = [str(python), str(packed / "run.py"), "--threads", "1", "--timing", "0"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode not in (0, 1):
                raise MobileSAMError(f"{requirement}: {done.stderr.strip()}")
            found[requirement] = {
                judged.bundle: judged for judged in merge([packed], progress=False).bundles
            }
            shutil.rmtree(packed / RESULTS)
    return found


def markdown(found: Mapping[str, Mapping[str, BundleReport]]) -> str:
    """A row for each version and a column for each bundle."""
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for requirement, row in found.items():
        cells = [outcome(row[name]) if name in row else "" for name in names]
        lines.append(f"| {requirement.replace('==', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    bundles: Annotated[list[Path], typer.Argument(help="tflite and onnx bundles")],
    environments: Annotated[
        Path, typer.Option(help="folder of the virtual environments, kept")
    ] = Path("old-runtimes"),
    runtime: Annotated[
        list[str] | None, typer.Option(help="what pip installs, such as onnxruntime==1.17.3")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="photos instead of the built-in ones")] = None,
) -> None:
    """Try bundles on old versions of their runtimes."""
    console = Console(soft_wrap=True, highlight=False)
    try:
        found = answers(bundles, environments.absolute(), runtime or (), images)
    except MobileSAMError as error:
        console.print(f"error: {error}")
        raise typer.Exit(2) from None
    for requirement, row in found.items():
        for name, judged in row.items():
            if judged.verdict != "PASS":
                console.print(f"{name} on {requirement}: {'; '.join(judged.reasons[:2])}")
    console.print(markdown(found))


if __name__ == "__main__":
    typer.run(main)
