"""MobileSAM beside other models: what is chosen, timed, and written down."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mobilesam.comparison import compare as comparing
from mobilesam.comparison.compare import compare_models
from mobilesam.comparison.contestants import (
    ALONE,
    CLICK,
    DECODER,
    ENCODER,
    EVERYTHING,
    FAMILIES,
    STEPS,
    Contestant,
    Watch,
    load,
)
from mobilesam.comparison.job import FACTS, ComparisonJob, Facts
from mobilesam.comparison.models import MODELS, chosen_models
from mobilesam.comparison.report import Compared, Comparison, Timing, chart
from mobilesam.engines.process import WorkerProcess
from mobilesam.errors import InputError
from mobilesam.model.build import VARIANTS
from mobilesam_cli import app


def timing(median: float, runs: int = 3, masks: int = 0) -> Timing:
    return Timing(
        median_s=median, low_s=median / 2, high_s=median * 2, cpu_s=median, runs=runs, masks=masks
    )


@pytest.fixture
def comparison() -> Comparison:
    """Two models, one of which has no steps but everything."""
    whole = {ENCODER: timing(1.5), DECODER: timing(0.05), CLICK: timing(1.6)}
    models = (
        Compared(
            model="mobile_sam",
            title="MobileSAM",
            weights="demo",
            parameters=9_800_000,
            encoder_parameters=5_700_000,
            megabytes=39.3,
            image_size=1024,
            timings=whole | {EVERYTHING: timing(27.0, runs=1, masks=53)},
        ),
        Compared(
            model="yolo11n_seg",
            title="YOLO11n-seg",
            weights="architecture alone",
            parameters=2_900_000,
            encoder_parameters=None,
            megabytes=11.6,
            image_size=640,
            timings={EVERYTHING: timing(0.2)},
        ),
    )
    return Comparison(
        created="2026-01-02T03:04:05+00:00",
        tool_version="0.1.0",
        machine={"system": "Linux x86_64", "cores": "2"},
        threads=1,
        photo="coffee",
        photo_size=(400, 600),
        points=1024,
        models=models,
    )


def test_the_table_has_a_row_for_each_model(comparison: Comparison) -> None:
    text = comparison.markdown()
    assert "coffee, 600 x 400; everything: 1024 points where" in text
    first, second = text.strip().splitlines()[-2:]
    assert (
        "| MobileSAM | demo | 9.8 | 5.7 | 39.3 | 1024 | 1,500 (750 to 3,000); CPU 1,500 |" in first
    )
    assert "| 27,000; CPU 27,000; 53 masks | – |" in first
    assert second.endswith("| 640 | – | – | – | 200 (100 to 400); CPU 200; 0 masks | – |")


def test_fewer_points_are_extrapolated_and_said_to_be(comparison: Comparison) -> None:
    row = comparison.models[0]
    assert row.extrapolated_s(1024) is None, "it does not say how many points there were"
    assert row.model_copy(update={"points": 1024}).extrapolated_s(1024) is None
    few = row.model_copy(update={"points": 34})
    estimate = few.extrapolated_s(1024)
    assert estimate is not None
    assert estimate.seconds == pytest.approx(1.6 + 31 * (27.0 - 1.6))
    assert estimate.cpu == estimate.seconds
    changed = comparison.model_copy(update={"models": (few, comparison.models[1])})
    said = "53 masks for 34 points (extrapolated to 1024: 789,000; CPU 789,000) |"
    assert said in changed.markdown()
    assert "34 points only" in chart(changed) and "points only" not in chart(comparison)


def test_a_part_s_time_adds_up_over_its_modules() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    watch = Watch(first, second)
    assert watch.seconds == 0.0
    first(torch.zeros(1, 2))
    once = watch.seconds
    second(torch.zeros(1, 2))
    assert 0.0 < once < watch.seconds
    watch.clear()
    assert watch.seconds == watch.cpu == 0.0


def test_what_their_package_cannot_load_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Contestant:
        raise KeyError("no such layer")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(FAMILIES, "ultralytics_yolo", broken)
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="cannot build YOLO11n-seg .*no such layer.*another ver"):
        load(MODELS["yolo11n_seg"], pixels, (1, 1), {})
    Path("yolo11n-seg.pt").touch()
    with pytest.raises(InputError, match="cannot load YOLO11n-seg .*replace 'yolo11n-seg.pt'"):
        load(MODELS["yolo11n_seg"], pixels, (1, 1), {})


def test_threads_are_those_asked_for_whatever_a_package_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    class Fake(Contestant):
        weights, points, parts, module = ALONE, None, {}, nn.Linear(2, 2)

        def __init__(self, *_: Any) -> None:
            self.steps = {EVERYTHING: self.find}

        def find(self) -> int:
            seen.append(torch.get_num_threads())
            torch.set_num_threads(1)  # as theirs does when it first predicts
            return 0

    before = torch.get_num_threads()
    monkeypatch.setitem(FAMILIES, "ultralytics_yolo", Fake)
    job = ComparisonJob("yolo11n_seg", np.zeros((8, 8, 3), np.uint8), (1, 1), {}, 2)
    try:
        with job.open() as work:
            facts = work(FACTS)
            work(EVERYTHING), work(EVERYTHING)
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2]
    assert isinstance(facts, Facts) and facts.weights == "architecture alone"
    assert facts.parameters == 6 and facts.megabytes == 6 * 4 / 1e6


def test_what_is_written_is_the_same_data(comparison: Comparison, tmp_path: Path) -> None:
    written = comparison.save(tmp_path / "new")
    assert {path.name for path in written.values()} == {
        "comparison.json",
        "comparison.md",
        "comparison.svg",
    }
    read = Comparison.model_validate_json(written["json"].read_text("utf-8"))
    assert read == comparison
    assert json.loads(written["json"].read_text("utf-8"))["schema_version"] == "1.0"
    picture = written["svg"].read_text("utf-8")
    assert picture.lstrip().startswith("<?xml") and "<svg" in picture


def test_every_variant_of_ours_can_be_compared() -> None:
    assert {model.source for model in MODELS.values() if model.family == "sam"} == set(VARIANTS)


def test_ultralytics_models_need_their_package() -> None:
    ours = chosen_models(None, ultralytics=False)
    assert ours == [name for name, model in MODELS.items() if not model.is_ultralytics]
    assert chosen_models(None, ultralytics=True) == list(MODELS)
    assert chosen_models(["sam_b", "sam_b"], ultralytics=False) == ["sam_b"]
    with pytest.raises(InputError, match=r"'sam2_t' is run by Ultralytics' package \(AGPL-3.0\)"):
        chosen_models(["sam2_t"], ultralytics=False)
    with pytest.raises(InputError, match="there is no model 'sam3' to compare, only mobile_sam"):
        chosen_models(["sam3"], ultralytics=True)


@pytest.mark.slow
def test_mobilesam_is_timed_in_all_steps() -> None:
    found = compare_models(["mobile_sam"], threads=1, rounds=2, points_per_side=1, progress=False)
    (row,) = found.models
    assert list(row.timings) == list(STEPS)
    assert row.weights in ("demo", "published")
    assert 9e6 < row.parameters < 11e6 and row.encoder_parameters is not None
    assert 38 < row.megabytes < 42
    assert row.timings[ENCODER].runs == 2 and row.timings[EVERYTHING].runs == 1
    assert row.timings[CLICK].median_s > row.timings[DECODER].median_s > 0
    assert row.timings[CLICK].masks == 3, "a lone click has three answers"


@pytest.mark.slow
def test_a_step_that_fails_costs_no_other_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = comparing._ask

    def failing(worker: WorkerProcess, name: str, item: str) -> Any:
        if item == EVERYTHING:
            raise RuntimeError("a worker process failed:\nTraceback ...\nOSError: no kernel")
        return ask(worker, name, item)

    monkeypatch.setattr(comparing, "_ask", failing)
    asked = ["compare", "--models", "mobile_sam", "--threads", "1", "--rounds", "1", "--json"]
    result = CliRunner().invoke(app, [*asked, "--no-warm-up", "--points-per-side", "1"])
    assert result.exit_code == 1
    found = Comparison.model_validate_json(result.stdout)
    (row,) = found.models
    assert row.failed == "everything: OSError: no kernel"
    assert list(row.timings) == [ENCODER, DECODER, CLICK]
    assert "MobileSAM failed at everything: OSError: no kernel" in found.markdown()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ultralytics") is None, reason="Ultralytics' package is not here")
def test_models_of_ultralytics_run_without_weights() -> None:
    names = ["sam2_t", "yolo11n_seg"]
    found = compare_models(names, threads=1, rounds=1, everything=False, progress=False)
    assert [row.weights for row in found.models] == ["architecture alone"] * 2
    assert list(found.models[0].timings) == [ENCODER, DECODER, CLICK]
    assert not found.models[1].timings


def test_a_photo_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no image file"):
        compare_models(["mobile_sam"], photo=tmp_path / "none.jpg", progress=False)
