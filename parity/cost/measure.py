"""Load time, latency and memory, each component in a fresh process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.cores import available_cores
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from parity.schema import Measurement

BUDGET_S = 3.0
"""Time for timed runs of one component, but for the least number of runs."""

TIMEOUT_S = 600.0
"""After which a process that measures is given up."""

_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``parity`` and the other packages."""


def measure_bundle(
    bundle: Bundle,
    runtime: str,
    threads: int | None = None,
    compute_units: str | None = None,
    *,
    budget_s: float = BUDGET_S,
) -> list[Measurement]:
    """What encoder and decoder of a bundle cost on one runtime.

    Args:
        bundle: already verified; its files are run.
        runtime: one of ``bundle.runtimes``.
        threads: of the runtime; None takes one for each core.
        compute_units: of Core ML on a Mac.
        budget_s: seconds of timed runs for each component.

    Raises:
        BundleError: a process failed or took longer than TIMEOUT_S.
    """
    job = {
        "kind": "bundle",
        "bundle": str(bundle.path.resolve()),
        "runtime": runtime,
        "options": {"compute_units": compute_units}
        if compute_units and runtime == "coreml"
        else {},
    }
    return _measure_both(job, threads, budget_s)


def measure_reference(
    weights: str,
    variant: str,
    image_size: int,
    threads: int | None = None,
    *,
    budget_s: float = BUDGET_S,
) -> list[Measurement]:
    """What encoder and decoder cost in PyTorch, measured in the same way.

    Args:
        weights, variant, image_size: as for :func:`mobilesam.load_model`.
        threads, budget_s: as for :func:`measure_bundle`.
    """
    given = str(Path(weights).resolve()) if Path(weights).exists() else weights
    job = {
        "kind": "reference",
        "weights": given,
        "variant": variant,
        "image_size": image_size,
    }
    return _measure_both(job, threads, budget_s)


def _measure_both(job: dict[str, Any], threads: int | None, budget_s: float) -> list[Measurement]:
    shared = job | {"threads": threads or available_cores(), "budget_s": budget_s}
    return [_measure(shared | {"component": component}) for component in COMPONENTS]


def _measure(job: dict[str, Any]) -> Measurement:
    what = f"the {job['component']} on {job.get('runtime', 'PyTorch')}"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "parity.cost.worker"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=os.environ | {"PYTHONPATH": _path()},
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"{what} did not finish within {TIMEOUT_S:g} s") from None
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0:
        try:
            return Measurement.model_validate_json(last)
        except ValidationError:
            raise BundleError(f"{what} answered '{last[:80]}' instead of a measurement") from None
    if done.returncode < 0:
        raise BundleError(f"{what} was killed by signal {-done.returncode}")
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise BundleError(f"{what} stopped with status {done.returncode}: {reason}")


def _path() -> str:
    """For ``PYTHONPATH``: the worker finds these packages first, wherever it is started from."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{_ROOT}{os.pathsep}{inherited}" if inherited else str(_ROOT)
