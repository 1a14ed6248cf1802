"""Segment everything beside segment-anything's own generator: the same masks, CPU time, memory.

    python -m benchmarks.everything PHOTO... --bundle EXPORTS/onnx-fp32 --bundle EXPORTS/tflite-fp32

Each generator has a process of its own, so that the memory is its own. They take turns, a photo
each, so that whatever else the machine does slows all of them alike. Printed are, for each photo,
CPU seconds and seconds on the clock, and how many of upstream's masks have a counterpart among
ours, and the other way round. Upstream is MobileSAM's ``SamAutomaticMaskGenerator`` of the
development dependency ``mobilesam-mirror``, with the same weights.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from pycocotools import mask as coco
from rich.console import Console
from rich.table import Table

from mobilesam.errors import MobileSAMError
from mobilesam.everything import MaskGenerator
from mobilesam.inference.images import load_image
from mobilesam.memory import peak_memory_mb
from mobilesam.model.build import load_model
from mobilesam.runtimes.bundle import Bundle
from tests.upstream.oracle import import_upstream

UPSTREAM = "upstream"
PYTORCH = "PyTorch"
FAST = "PyTorch, fast"

SAME = 0.95
"""IoU from which on two masks count as the same."""

ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """One photo: CPU seconds, seconds on the clock, most memory so far in MB, masks as COCO's."""

    cpu: float
    wall: float
    peak_mb: float
    masks: list[dict[str, Any]]


def serve(name: str, threads: int, parameters: dict[str, Any]) -> None:
    """Be one generator: for each path read, answer with a :class:`Cost` as JSON."""
    torch.set_num_threads(threads)
    generate = generator_of(name, threads, parameters)
    for line in sys.stdin:
        pixels = load_image(line.strip())
        before = time.process_time(), time.perf_counter()
        records = generate(pixels)
        cpu, wall = time.process_time() - before[0], time.perf_counter() - before[1]
        masks = [record["segmentation"] for record in records]
        print(json.dumps(Cost(cpu, wall, peak_memory_mb(), masks)), flush=True)


def generator_of(
    name: str, threads: int, parameters: dict[str, Any]
) -> Callable[[np.ndarray], list[Any]]:
    """A generator by its name in the tables, or by its bundle's path: HxWx3 uint8 to records."""
    parameters = {**parameters, "output_mode": "coco_rle"}
    if name == UPSTREAM:
        package = import_upstream()
        upstream = package.sam_model_registry["vit_t"]()
        upstream.load_state_dict(load_model().state_dict(), strict=False)
        upstream.train()
        upstream.eval()  # upstream gathers its attention biases here, and only here
        generator: Any = package.SamAutomaticMaskGenerator(upstream, **parameters)
        generate: Callable[[np.ndarray], list[Any]] = generator.generate
        return generate
    if name in (PYTORCH, FAST):
        mode = "fast" if name == FAST else "full"
        return MaskGenerator(load_model(), mode=mode, **parameters).generate
    return MaskGenerator(Bundle(name), threads=threads, **parameters).generate


def matched(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> tuple[int, int]:
    """How many of ours are among theirs, and of theirs among ours."""
    if not ours or not theirs:
        return 0, 0
    overlaps = np.asarray(coco.iou(ours, theirs, [0] * len(theirs)))
    return int((overlaps.max(axis=1) >= SAME).sum()), int((overlaps.max(axis=0) >= SAME).sum())


def main(
    photos: Annotated[list[Path], typer.Argument(help="Photos.", show_default=False)],
    bundle: Annotated[list[Path] | None, typer.Option(help="Measure this bundle too.")] = None,
    points_per_side: Annotated[int, typer.Option(min=1)] = 32,
    pred_iou_thresh: Annotated[
        float, typer.Option(help="Low enough for the demo weights to leave 20 to 200 masks.")
    ] = 0.4,
    stability_score_thresh: float = 0.7,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    upstream: Annotated[bool, typer.Option(help="Measure upstream's generator too.")] = True,
    fast: Annotated[bool, typer.Option(help="Measure the fast mode too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure, and print a table."""
    parameters = {
        "points_per_side": points_per_side,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
    }
    names = [UPSTREAM] * upstream + [PYTORCH] + [FAST] * fast
    names += [str(path) for path in bundle or ()]
    costs: dict[str, dict[str, Cost]] = {name: {} for name in names}
    code = (
        "from benchmarks.everything import serve; import sys, json; serve(*json.loads(sys.argv[1]))"
    )
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", code, json.dumps([name, threads, parameters])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in names
    }
    try:
        for photo in photos:
            for name, process in processes.items():
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(f"{photo.resolve()}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise MobileSAMError(f"{name} ended before it answered, see above")
                costs[name][photo.name] = Cost(*json.loads(answer))
                _say(name, photo.name, costs)
    finally:
        for process in processes.values():
            process.kill()
    Console(width=120).print(_table(costs))
    if out is not None:
        figures = {
            name: {photo: cost._replace(masks=[])._asdict() for photo, cost in each.items()}
            for name, each in costs.items()
        }
        out.write_text(json.dumps(figures, indent=2))


def _say(name: str, photo: str, costs: dict[str, dict[str, Cost]]) -> None:
    cost = costs[name][photo]
    compared = ""
    if UPSTREAM in costs and name != UPSTREAM:
        theirs = costs[UPSTREAM][photo].masks
        ours_found, theirs_found = matched(cost.masks, theirs)
        compared = f", {ours_found} of {len(cost.masks)} in upstream's, {theirs_found} of "
        compared += f"{len(theirs)} of upstream's here"
    print(
        f"{photo}: {name}: {cost.cpu:.1f} s of CPU time, {cost.wall:.1f} s, "
        f"{len(cost.masks)} masks{compared}",
        file=sys.stderr,
        flush=True,
    )


def _table(costs: dict[str, dict[str, Cost]]) -> Table:
    table = Table(
        "generator",
        "CPU s",
        "s",
        "times less CPU",
        "peak MB",
        "masks",
        "ours in theirs",
        "theirs in ours",
    )
    for name, each in costs.items():
        cpu = statistics.fmean(cost.cpu for cost in each.values())
        wall = statistics.fmean(cost.wall for cost in each.values())
        row = [Path(name).name, f"{cpu:.1f}", f"{wall:.1f}", "", "", "", "", ""]
        row[4] = f"{max(cost.peak_mb for cost in each.values()):.0f}"
        count = sum(len(cost.masks) for cost in each.values())
        row[5] = f"{count / len(each):.0f}"
        if UPSTREAM in costs:
            theirs = costs[UPSTREAM]
            row[3] = f"{statistics.fmean(cost.cpu for cost in theirs.values()) / cpu:.1f}"
            pairs = [matched(cost.masks, theirs[photo].masks) for photo, cost in each.items()]
            total = sum(len(cost.masks) for cost in theirs.values())
            row[6] = f"{100 * sum(pair[0] for pair in pairs) / max(1, count):.1f} %"
            row[7] = f"{100 * sum(pair[1] for pair in pairs) / max(1, total):.1f} %"
        table.add_row(*row)
    return table


if __name__ == "__main__":
    typer.run(main)
