"""The Core ML evaluator's encoder beside PyTorch's: time and memory, measured side by side.

    python -m benchmarks.coreml_evaluator EXPORTS/coreml-fp32 EXPORTS/coreml-fp16

Each runtime has a process of its own, so that the memory is its own. The processes take turns, one
run each, so that whatever else the machine does slows all of them alike. Printed are medians, and
ratios to PyTorch in eager mode with the weights that the bundles were exported from.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from rich.console import Console
from rich.table import Table

from converters.modules import example_inputs
from coreml_evaluator import CoreMLProgram
from mobilesam.bundle.contract import Contract
from mobilesam.cores import available_cores
from mobilesam.errors import MobileSAMError
from mobilesam.memory import peak_memory_mb
from mobilesam.model.build import load_model
from mobilesam.runtimes.bundle import Bundle

TIME_LIMIT, MEMORY_LIMIT = 1.2, 1.5
"""The evaluator's time and memory, over PyTorch's."""

ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """Seconds of each run, and MB (10^6 bytes): at most, and of imports before a model is there."""

    seconds: list[float]
    peak_mb: float
    baseline_mb: float


def serve(bundle: Path | None, threads: int) -> None:
    """Be one runtime: run once for each line read, and answer with what it took as JSON.

    Args:
        bundle: whose encoder the evaluator runs; None is PyTorch with the demo weights.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    if bundle:
        import_module("coremltools")  # reads the package, and takes more memory than PyTorch does
    baseline = peak_memory_mb()
    run = _evaluator(bundle) if bundle else _pytorch()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        run()
        seconds = time.perf_counter() - begun
        print(json.dumps([seconds, peak_memory_mb(), baseline]), flush=True)


def _evaluator(bundle: Path) -> Callable[[], object]:
    opened = Bundle(bundle)
    program = CoreMLProgram(opened.file("encoder", "coreml"))
    inputs = example_inputs(opened.manifest.contract, "encoder")
    return lambda: program.run(inputs)


def _pytorch() -> Callable[[], object]:
    model = load_model()
    image = example_inputs(Contract.of(model, input_variant="normalized"), "encoder")["image"]

    @torch.inference_mode()
    def run() -> object:
        return model.image_encoder(image)

    return run


def measure(bundles: list[Path], rounds: int, threads: int) -> list[Cost]:
    """PyTorch's cost, and then that of the evaluator for each bundle; the first round warms up."""
    workers = [_start(bundle, threads) for bundle in (None, *bundles)]
    costs = [Cost([], 0, 0) for _ in workers]
    try:
        for turn in range(rounds + 1):
            for position, worker in enumerate(workers):
                seconds, peak, baseline = json.loads(_ask(worker))
                taken = [*costs[position].seconds, seconds] if turn else []
                costs[position] = Cost(taken, peak, baseline)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return costs


def _start(bundle: Path | None, threads: int) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.coreml_evaluator", "--serve", f"--threads={threads}"]
        + ([str(bundle.resolve())] if bundle else []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
    )
    assert worker.stdout is not None
    while (line := worker.stdout.readline()).strip() != "ready":
        if not line:
            raise MobileSAMError(f"the process of {bundle or 'PyTorch'} ended before it was ready")
    return worker


def _ask(worker: subprocess.Popen[str]) -> str:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("run\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise MobileSAMError(f"a process ended with status {worker.wait()} while it was measured")
    return answer


def table(bundles: list[Path], costs: list[Cost]) -> Table:
    """A row for PyTorch and one for each bundle."""
    shown = Table(title="Encoder: Core ML evaluator beside PyTorch eager")
    for heading in ("runtime", "median s", "min s", "× PyTorch", "peak MB", "× PyTorch"):
        shown.add_column(heading, justify="left" if heading == "runtime" else "right")
    shown.add_column("of them imports", justify="right")
    base = costs[0]
    for name, cost in zip(("PyTorch eager", *(path.name for path in bundles)), costs, strict=True):
        median = statistics.median(cost.seconds)
        shown.add_row(
            name,
            f"{median:.2f}",
            f"{min(cost.seconds):.2f}",
            f"{median / statistics.median(base.seconds):.2f}",
            f"{cost.peak_mb:.0f}",
            f"{cost.peak_mb / base.peak_mb:.2f}",
            f"{cost.baseline_mb:.0f}",
        )
    shown.caption = f"limits: time {TIME_LIMIT} ×, memory {MEMORY_LIMIT} ×"
    return shown


def main(
    bundles: Annotated[list[Path] | None, typer.Argument(help="coreml bundles of one size")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="timed runs of each runtime")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="of PyTorch")] = available_cores(),
    serving: Annotated[bool, typer.Option("--serve", hidden=True)] = False,
) -> None:
    """Measure the evaluator's encoder beside PyTorch's."""
    given = bundles or []
    if serving:
        serve(given[0] if given else None, threads)
    else:
        Console(width=120).print(table(given, measure(given, rounds, threads)))


if __name__ == "__main__":
    typer.run(main)
