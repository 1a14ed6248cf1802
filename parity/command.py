"""The command line that repeats a run."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def command_line(
    bundles: Sequence[Path],
    *,
    images: Path | None = None,
    thresholds: Path | None = None,
    weights: str | Path | None = None,
    threads: int | None = None,
    measure: bool = True,
    compute_units: str | None = None,
    gallery: bool = False,
) -> str:
    """``mobilesam parity`` with the arguments of :func:`parity.suite.run_parity`, quoted."""
    return joined(
        ["parity", *(str(path) for path in bundles)],
        {
            "--images": images,
            "--thresholds": thresholds,
            "--weights": weights,
            "--threads": threads,
            "--compute-units": compute_units,
            "--no-measure": not measure,
            "--gallery": gallery,
        },
    )


def joined(words: Sequence[str], options: Mapping[str, object]) -> str:
    """``mobilesam``, the words, and the options that are set, quoted for a shell.

    Args:
        words: subcommand and arguments.
        options: True is a flag; None and False leave an option out.
    """
    line = ["mobilesam", *words]
    for option, value in options.items():
        if value is True:
            line.append(option)
        elif value is not None and value is not False:
            line += [option, str(value)]
    return shlex.join(line)
