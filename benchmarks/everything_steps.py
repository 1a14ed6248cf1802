"""Where segment everything spends its CPU time, step by step, beside segment-anything's generator.

    python -m benchmarks.everything_steps PHOTO --bundle EXPORTS/onnx-fp32

Each generator runs once, in one thread, under Python's profiler.
"""

import cProfile
import pstats
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.everything import PYTORCH, UPSTREAM, generator_of
from mobilesam.inference.images import load_image

Function = tuple[str, str]
"""End of its file's path, and name."""


class Step(NamedTuple):
    """A row of the table: the functions that do it in ours and in upstream."""

    label: str
    ours: tuple[Function, ...]
    upstream: tuple[Function, ...]


STEPS = (
    Step(
        "photo to embedding",
        (("answers.py", "set_image"),),
        (("predictor.py", "set_image"),),
    ),
    Step(
        "prompts to predicted IoUs, upstream's also to masks",
        (
            ("fast_decoder.py", "attend"),
            ("fast_decoder.py", "iou_predictions"),
            ("points_onnxruntime.py", "attend"),
            ("runtimes/base.py", "decode"),
        ),
        (("predictor.py", "predict_torch"),),
    ),
    Step(
        "masks of good IoU, low-res",
        (("fast_decoder.py", "masks"), ("points_onnxruntime.py", "masks")),
        (),
    ),
    Step(
        "stability, at the photo's size",
        (("candidates.py", "candidate"),),
        (("amg.py", "calculate_stability_score"),),
    ),
    Step("run lengths", (("rle.py", "encoded"),), (("amg.py", "mask_to_rle_pytorch"),)),
)


def seconds_of(profile: cProfile.Profile, functions: tuple[Function, ...]) -> float:
    """CPU seconds in some functions, none of which calls another of them but its own base's."""
    found = {
        (path, name): cumulative
        for (path, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    }
    return sum(
        max(
            (s for (path, own), s in found.items() if own == name and path.endswith(file)),
            default=0.0,
        )
        for file, name in functions
    )


def main(
    photo: Annotated[Path, typer.Argument(help="A photo.", show_default=False)],
    bundle: Annotated[list[Path] | None, typer.Option(help="Measure this bundle too.")] = None,
    points_per_side: Annotated[int, typer.Option(min=1)] = 32,
    pred_iou_thresh: float = 0.4,
    stability_score_thresh: float = 0.7,
    upstream: Annotated[bool, typer.Option(help="Measure upstream's generator too.")] = True,
) -> None:
    """Measure, and print a table of CPU seconds."""
    parameters = {
        "points_per_side": points_per_side,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
    }
    torch.set_num_threads(1)
    pixels = load_image(photo)
    names = [UPSTREAM] * upstream + [PYTORCH, *(str(path) for path in bundle or ())]
    columns = []
    for name in names:
        generate = generator_of(name, 1, parameters)
        profile = cProfile.Profile(time.process_time)
        before = time.process_time()
        profile.runcall(generate, pixels)
        total = time.process_time() - before
        functions = [step.upstream if name == UPSTREAM else step.ours for step in STEPS]
        steps = [seconds_of(profile, each) for each in functions]
        columns.append([*steps, total - sum(steps), total])
    table = Table("CPU s", *(Path(name).name for name in names))
    for label, *row in zip(
        [*(step.label for step in STEPS), "the rest", "all"], *columns, strict=True
    ):
        table.add_row(label, *(f"{seconds:.2f}" for seconds in row))
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
