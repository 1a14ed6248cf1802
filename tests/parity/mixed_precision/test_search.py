"""The search takes the cheapest steps, stops at the floor, and remembers what it tried."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from converters.plan import Plan, read_plan
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import ExportError, InputError
from mobilesam.progress import Progress
from mobilesam.runtimes.base import Decoded
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam_cli import app
from parity.cases import default_photos
from parity.mixed_precision.plot import sensitivity_plot
from parity.mixed_precision.search import OBJECTIVES, plan_of, search
from parity.mixed_precision.sensitivity import GroupCost, moves, sensitivity
from parity.mixed_precision.trials import Trial, Trials
from parity.photos import stored_photos
from parity.references import reference_answers
from tests.specs import make_spec
from tests.tiny_bundles import tiny_model

LADDER = OBJECTIVES["size"].ladder
LOSS = {
    "a": {"w8d": 0.001, "w4": 0.004, "w4c": 0.2, "w8a8": 0.003},
    "b": {"w8d": 0.002, "w4": 0.1, "w4c": 0.3, "w8a8": 0.05},
    "c": {"w8d": 0.0, "w4": 0.0, "w4c": 0.1, "w8a8": 0.001},
    "d": {"w8d": 0.01, "w4": 0.02, "w4c": 0.2, "w8a8": 0.02},
}
BYTES = {"float": 400, "w8d": 100, "w4": 50, "w4c": 40, "w8a8": 100}
SECONDS = {
    "a": {"w8d": 0.8, "w8a8": 0.5},
    "b": {"w8d": 0.9, "w8a8": 0.6},
    "c": {"w8d": 0.9, "w8a8": 1.2},
    "d": {"w8d": 1.1, "w8a8": 0.7},
}
"""Of a group, 1.0 in float32: two precisions make one slower."""


class MadeUp:
    """Trials whose losses add up, so that the best plan is known."""

    groups = {"encoder": {"a": 400, "b": 400}, "decoder": {"c": 400, "d": 400}}

    def __init__(self) -> None:
        self.tried: list[Plan] = []

    def try_plan(self, plan: Plan, components: Sequence[Component] = COMPONENTS) -> Trial:
        self.tried.append(plan)
        groups = [group for component in components for group in self.groups[component]]
        loss = sum(LOSS[g].get(plan.of(g), 0.0) for g in groups)
        return Trial(
            1 - loss,
            1 - 2 * loss,
            sum(BYTES[plan.of(g)] for g in groups),
            sum(SECONDS[g].get(plan.of(g), 1.0) for g in groups),
        )


def made_up() -> tuple[Trials, MadeUp]:
    trials = MadeUp()
    return cast(Trials, trials), trials


def quiet() -> Progress:
    return Progress(False)


def test_costs_are_those_of_single_groups() -> None:
    trials, _ = made_up()
    costs = sensitivity(trials, LADDER, quiet())
    found = {(c.group, c.precision): (round(c.loss, 6), c.saved_bytes) for c in costs}
    assert found == {
        (group, precision): (losses[precision], 400 - BYTES[precision])
        for group, losses in LOSS.items()
        for precision in LADDER
    }
    assert [c.loss for c in costs] == sorted((c.loss for c in costs), reverse=True)


def test_steps_go_down_the_ladder_and_cheapest_first() -> None:
    trials, _ = made_up()
    steps = [(s.group, s.precision) for s in moves(sensitivity(trials, LADDER, quiet()), LADDER)]
    assert len(steps) == 12
    for group in LOSS:
        places = [steps.index((group, precision)) for precision in LADDER]
        assert places == sorted(places)
    assert set(steps[:2]) == {("c", "w8d"), ("c", "w4")}
    assert steps[-1] == ("b", "w4c")


@pytest.mark.parametrize(
    ("floor", "chosen"),
    [
        (0.9999, {"c": "w4"}),
        (0.996, {"a": "w8d", "b": "w8d", "c": "w4"}),
        (0.98, {"a": "w4", "b": "w8d", "c": "w4", "d": "w8d"}),
        (0.5, {"a": "w4", "b": "w4", "c": "w4c", "d": "w4c"}),
    ],
)
def test_the_smallest_plan_above_the_floor_is_found(floor: float, chosen: dict[str, str]) -> None:
    trials, _ = made_up()
    found = search(trials, floor, quiet())
    assert dict(found.plan.groups) == chosen
    assert found.trial.miou >= floor


@pytest.mark.parametrize(
    ("floor", "chosen"),
    [
        (0.99, {"a": "w8a8", "b": "w8d", "c": "w8d"}),
        (0.97, {"a": "w8a8", "b": "w8d", "c": "w8d", "d": "w8a8"}),
        (0.5, {"a": "w8a8", "b": "w8a8", "c": "w8d", "d": "w8a8"}),
    ],
)
def test_the_fastest_plan_has_no_step_that_is_slower(floor: float, chosen: dict[str, str]) -> None:
    trials, made = made_up()
    found = search(trials, floor, quiet(), objective="latency")
    assert dict(found.plan.groups) == chosen
    assert {precision for plan in made.tried for precision in plan.precisions} <= {
        "float",
        *OBJECTIVES["latency"].ladder,
    }


def test_what_cannot_be_had_is_said() -> None:
    trials, _ = made_up()
    with pytest.raises(InputError, match=r"takes 0.00 MB, more than 0.00"):
        search(trials, 0.98, quiet(), max_bytes=10)
    with pytest.raises(InputError, match=r"float32 files have 1.0000 on these photos"):
        search(trials, 1.01, quiet())


def test_a_plan_takes_the_last_step_of_each_group() -> None:
    steps = [GroupCost("encoder", "a", p, 0, 0) for p in LADDER]
    assert dict(plan_of(steps).groups) == {"a": "w4c"}
    assert plan_of([]).default == "float"


def test_the_plot_shows_every_cost() -> None:
    trials, _ = made_up()
    costs = sensitivity(trials, LADDER, quiet())
    plot = sensitivity_plot(costs)
    assert plot.startswith("<svg")
    assert plot.count("<title>") == len(costs)
    assert "decoder d in w4: 0.0200 lost" in plot


@pytest.fixture
def real(tiny_bundle: Any, tmp_path: Path) -> Any:
    """Trials of the tiny model's files on one photo."""
    bundle: Bundle = tiny_bundle("tflite")
    contents = {c: bundle.file(c, "litert").read_bytes() for c in COMPONENTS}
    with (
        stored_photos(default_photos()[:1], [tiny_model().image_size]) as photos,
        ReferenceRunner(tiny_model()) as reference,
        reference_answers(reference, photos) as answers,
    ):
        yield lambda **more: Trials(
            contents, bundle.manifest.contract, answers, memory=tmp_path / "trials.json", **more
        )


def test_trials_run_files_and_are_remembered(real: Any, tmp_path: Path) -> None:
    trials: Trials = real()
    whole = trials.try_plan(Plan(target="tflite", default="float"))
    assert whole.miou > 0.999
    plan = Plan(target="tflite", default="w8")
    eight = trials.try_plan(plan)
    assert eight.size_bytes < whole.size_bytes and eight.miou < whole.miou
    only = trials.try_plan(plan, ("decoder",))
    assert only.size_bytes < eight.size_bytes
    again: Trials = real()
    assert again.known(plan) and again.known(plan, ("decoder",))
    assert not again.known(Plan(target="tflite", default="w4"))
    assert again.try_plan(plan) == eight and eight.seconds is None
    assert len(json.loads((tmp_path / "trials.json").read_text())) == 3


def test_a_timed_search_makes_trials_without_a_time_again(real: Any) -> None:
    plan = Plan(target="tflite", default="w8d")
    real().try_plan(plan)
    timed: Trials = real(timed=True)
    assert not timed.known(plan)
    found = timed.try_plan(plan)
    assert found.seconds is not None and found.seconds > 0
    assert real(timed=True).try_plan(plan) == found
    with pytest.raises(ExportError, match="needs photos to calibrate on"):
        timed.try_plan(Plan(target="tflite", default="w8a8"))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["sensitivity", "onnx"], "only target tflite is quantized group by group, not 'onnx'"),
        (["search", "--target", "coreml"], "not 'coreml'"),
        (["search", "--out", "plan.json"], "--out must end in .toml, not 'plan.json'"),
        (["search", "--images", "nowhere"], "'nowhere' is not a folder"),
        (["search", "--confirm-images", "nowhere"], "takes a folder of photos, not 'nowhere'"),
        (["search", "--images", ".", "--confirm-images", "."], "are the same folder: give two"),
    ],
)
def test_bad_input_is_one_sentence(
    command: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_scheme_file_is_told_from_schemes_and_kept_in_the_manifest(tmp_path: Path) -> None:
    from converters.lookup import is_calibrated
    from converters.provenance import settings
    from converters.selection import planned

    file = tmp_path / "mine.toml"
    plan = Plan(target="tflite", default="w8", groups={"neck.Conv2d0": "float"})
    file.write_text(plan.toml())
    assert planned(["tflite"], ["w8", str(file)]) == (["w8"], ("mine", plan))
    stored = tmp_path / "stored.toml"
    stored.write_text(settings(make_spec(tiny_model(), "tflite", "mixed", plan=plan))["plan"])
    assert read_plan(stored) == plan
    assert not is_calibrated("tflite", "mixed", plan)
    assert is_calibrated("tflite", "mixed", Plan(target="tflite", default="w8a8"))


@pytest.mark.parametrize(
    ("targets", "names", "text", "reason"),
    [
        (["onnx"], ["a.toml"], 'target = "tflite"\ndefault = "w8"', "is for target tflite, not"),
        (["all"], ["a.toml"], 'target = "onnx"\ndefault = "w8"', "'onnx' takes no scheme file"),
        (["all"], ["w8.toml"], 'target = "tflite"\ndefault = "w8"', "has the name of scheme w8"),
        (["all"], ["a.toml", "b.toml"], "", "one scheme file at a time, not 2"),
    ],
)
def test_scheme_files_that_do_not_fit_are_refused(
    targets: list[str], names: list[str], text: str, reason: str, tmp_path: Path
) -> None:
    from converters.selection import planned

    for name in names:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason):
        planned(targets, [str(tmp_path / name) for name in names])


def test_trials_are_known_again_though_the_reference_differs_in_its_last_bit(
    tiny_bundle: Any, tmp_path: Path
) -> None:
    bundle: Bundle = tiny_bundle("tflite")
    contents = {c: bundle.file(c, "litert").read_bytes() for c in COMPONENTS}
    plan = Plan(target="tflite", default="float")
    memory = tmp_path / "trials.json"
    for turn in range(2):
        with (
            stored_photos(default_photos()[:1], [tiny_model().image_size]) as photos,
            ReferenceRunner(tiny_model()) as reference,
            reference_answers(reference, photos) as answers,
        ):
            if turn:
                embedding = answers[0].embedding() * (1 + 2**-23)
                stored = iter([Decoded(a.low_res, a.iou) for a in answers[0].answers()])
                answers[0].keep(embedding, lambda _, stored=stored: next(stored))  # type: ignore[misc]
            trials = Trials(contents, bundle.manifest.contract, answers, memory=memory)
            assert trials.known(plan, ("decoder",)) == bool(turn)
            trials.try_plan(plan, ("decoder",))
