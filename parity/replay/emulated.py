"""Run and judge bundles on an ARM core that this machine emulates."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mobilesam.emulators import arm64
from mobilesam.errors import BundleError, InputError
from parity.bundles import BundleSource, open_bundles
from parity.naming import Named, distinct_names
from parity.replay.merge import merge
from parity.replay.pack import pack
from parity.replay.start import run_folder
from parity.report import Report


def run_on_arm64(
    folder: Path,
    *,
    cpu: str = arm64.DEFAULT_CPU,
    bundles: Sequence[str] = (),
    threads: int | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = lambda now: None,
) -> int:
    """Run ``run.py`` of a replay folder on an emulated core, which is set up where it is missing.

    Args:
        folder: the replay folder.
        cpu: one of :data:`mobilesam.emulators.arm64.CPUS`.
        bundles: names of those to run; empty: all.
        threads: of the runtime; None leaves its own choice.
        quiet: print nothing.
        say: called with what is being set up.

    Returns:
        Its exit status.

    Raises:
        InputError: the CPU is unknown, or the folder is no replay folder.
        MissingDependencyError: the core cannot be set up here.
    """
    if cpu not in arm64.CPUS:
        raise InputError(f"unknown CPU '{cpu}', known: {', '.join(arm64.CPUS)}")
    if not (folder / "run.py").is_file():
        raise InputError(f"'{folder}' is not a replay folder: it has no run.py")
    if arm64.missing():
        arm64.set_up(say=say)
    return run_folder(
        folder,
        bundles=bundles,
        threads=threads,
        python=arm64.python(),
        emulated_cpu=cpu,
        quiet=quiet,
    )


def judge_on_arm64(
    bundles: BundleSource | Sequence[BundleSource],
    *,
    cpu: str = arm64.DEFAULT_CPU,
    images: Path | None = None,
    brief: bool = True,
    weights: str | Path | None = None,
    thresholds: Path | None = None,
    threads: int | None = None,
    progress: bool = True,
    command: str = "",
) -> Report:
    """Pack bundles into a temporary folder, run them on an emulated core, and judge the answers.

    An emulated core takes minutes for what this machine does in a second.

    Args:
        bundles: one or several, opened or as their folders; also folders that hold bundles. Each
            has a runtime that ``run.py`` knows.
        cpu: one of :data:`mobilesam.emulators.arm64.CPUS`.
        images: folder of photos instead of the built-in ones.
        brief: only the first photo and a prompt of each kind.
        weights: of the reference; None takes what each manifest names.
        thresholds: TOML file instead of ``parity/thresholds.toml``.
        threads: of the runtime; None leaves its own choice.
        progress: show progress on the terminal.
        command: the command line that makes this report again, for the report to state.

    Raises:
        BundleError: a bundle was altered, is not of the reference's weights, or has no runtime that
            ``run.py`` knows; or no bundle could be run.
        InputError: the CPU is unknown, or the images cannot be used.
        MissingDependencyError: the core cannot be set up here.
    """
    opened = open_bundles(bundles)
    named = [Named(bundle.name, str(bundle.path)) for bundle in opened]
    paths = dict(zip(distinct_names(named), (each.path for each in named), strict=True))
    with tempfile.TemporaryDirectory(prefix="mobilesam-arm64-") as scratch:
        folder = Path(scratch) / "pack"
        pack(opened, folder, images=images, brief=brief, weights=weights, progress=progress)
        status = run_on_arm64(folder, cpu=cpu, threads=threads, quiet=not progress)
        if status not in (0, 1):
            raise BundleError(
                f"no bundle could be run on the emulated {cpu}: run.py ended with status {status}"
            )
        report = merge([folder], thresholds=thresholds, progress=progress, command=command)
    for row in report.bundles:
        row.path = paths[row.bundle]  # their copies went with the temporary folder
    return report
