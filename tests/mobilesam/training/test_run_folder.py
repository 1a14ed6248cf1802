"""The folder of a run: what it refuses, what it survives."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mobilesam import load_model
from mobilesam.errors import InputError
from mobilesam.training.initial import initial_model
from mobilesam.training.run_folder import CONFIG, LOG, STATE, RunFolder
from mobilesam.training.trainer import _same_so_far
from tests.mobilesam.training.conftest import small_config, small_stage

GOOD = {"step": 3, "model": {"a": torch.ones(2)}, "average": {}, "optimizers": []}
CONFIGURATION = small_config(Path("masks"), small_stage(steps=3), small_stage(steps=5))


class _Code:
    """An object whose unpickling would make a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def begun(path: Path) -> RunFolder:
    run = RunFolder(path, CONFIGURATION)
    run.begin()
    return run


def test_nothing_is_written_before_the_run_begins(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a" / "run", CONFIGURATION)
    assert list(tmp_path.iterdir()) == []
    run.begin()
    assert [path.name for path in run.path.iterdir()] == [CONFIG]


def test_the_same_configuration_goes_on(tmp_path: Path) -> None:
    begun(tmp_path).save_state(GOOD)
    state = RunFolder(tmp_path, CONFIGURATION).load_state()
    assert state is not None and state["step"] == 3
    assert torch.equal(state["model"]["a"], torch.ones(2))


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    before = (tmp_path / CONFIG).read_bytes()
    other = CONFIGURATION.model_copy(update={"seed": 1})
    with pytest.raises(InputError, match="holds a run of another configuration"):
        RunFolder(tmp_path, other)
    assert (tmp_path / CONFIG).read_bytes() == before


def test_a_change_may_be_allowed(tmp_path: Path) -> None:
    begun(tmp_path).save_state(GOOD)
    other = CONFIGURATION.model_copy(update={"seed": 1})
    asked = []

    def allow(stored: str, step: int) -> bool:
        asked.append((json.loads(stored)["seed"], step))
        return True

    RunFolder(tmp_path, other, allow).begin()
    assert asked == [(0, 3)]
    assert json.loads((tmp_path / CONFIG).read_text())["seed"] == 1


@pytest.mark.parametrize(
    ("step", "first", "second"),
    [(0, True, True), (1, False, True), (3, False, True), (4, False, False)],
)
def test_only_stages_not_begun_may_change(step: int, first: bool, second: bool) -> None:
    stored = CONFIGURATION.model_dump_json()
    stages = CONFIGURATION.stages
    assert _same_so_far(stored, CONFIGURATION, step)
    for number, allowed in ((0, first), (1, second)):
        new = list(stages)
        new[number] = small_stage(steps=stages[number].steps, lr=5e-4)
        changed = CONFIGURATION.model_copy(update={"stages": tuple(new)})
        assert _same_so_far(stored, changed, step) == allowed
    more = CONFIGURATION.model_copy(update={"stages": (*stages, small_stage())})
    assert _same_so_far(stored, more, step)
    fewer = CONFIGURATION.model_copy(update={"stages": stages[:1]})
    assert _same_so_far(stored, fewer, step) == second
    seeded = CONFIGURATION.model_copy(update={"seed": 1})
    assert not _same_so_far(stored, seeded, step)
    assert not _same_so_far('{"teacher": "demo", "steps": 5}', CONFIGURATION, step)


@pytest.mark.parametrize("damage", ["empty", "short", "middle", "end", "text", "other"])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: str) -> None:
    run = begun(tmp_path)
    run.save_state(GOOD)
    file = tmp_path / STATE
    content = file.read_bytes()
    if damage == "other":
        torch.save({"weight": torch.ones(1)}, file)
    else:
        kept = {"empty": 0, "short": 10, "middle": len(content) // 2, "end": len(content) - 1}
        text = b"not a state at all"
        file.write_bytes(text if damage == "text" else content[: kept[damage]])
    with pytest.raises(InputError) as caught:
        run.load_state()
    sentence = str(caught.value)
    assert STATE in sentence and "\n" not in sentence and "\x1b" not in sentence
    assert "delete it" in sentence


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_state_is_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    run = begun(tmp_path / "run")
    evil = {**GOOD, "model": _Code()}
    if zipped:
        torch.save(evil, run.path / STATE)
    else:
        (run.path / STATE).write_bytes(pickle.dumps(evil, protocol=2))
    with pytest.raises(InputError, match="not a training state"):
        run.load_state()
    assert not (tmp_path / "executed").exists()


def test_the_log_is_rewound_and_a_cut_line_left_out(tmp_path: Path) -> None:
    run = begun(tmp_path)
    assert run.read_log() == []
    for step in range(5):
        run.log({"step": step, "loss": 0.5})
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 5, "lo')
    assert [row["step"] for row in run.read_log()] == [0, 1, 2, 3, 4]
    run.rewind_log(3)
    run.log({"step": 3, "loss": 0.25})
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert rows == [{"step": s, "loss": 0.5} for s in range(3)] + [{"step": 3, "loss": 0.25}]


def test_weights_are_half_precision_and_load(tmp_path: Path) -> None:
    run = begun(tmp_path)
    model = initial_model("vit_t", "fresh", 64, 0)
    path = run.save_weights(model.state_dict(), {"steps": "7"})
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"steps": "7"}
        kinds = {file.get_tensor(name).dtype for name in file.keys()}
    assert kinds == {torch.float16, torch.int64}
    assert path.stat().st_size < 21e6
    loaded = load_model(path, image_size=64).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded[name].float(), tensor.float(), rtol=1e-3, atol=1e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == [CONFIG, path.name]
