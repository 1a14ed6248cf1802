"""The command line that repeats a run of the suite."""

import shlex
from collections.abc import Sequence
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
    words = ["mobilesam", "parity", *(str(path) for path in bundles)]
    for option, value in (
        ("--images", images),
        ("--thresholds", thresholds),
        ("--weights", weights),
        ("--threads", threads),
        ("--compute-units", compute_units),
    ):
        if value is not None:
            words += [option, str(value)]
    if not measure:
        words.append("--no-measure")
    if gallery:
        words.append("--gallery")
    return shlex.join(words)
