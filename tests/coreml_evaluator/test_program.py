"""Whole programs: our encoder and decoder, float16 rounding, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converters.modules import build_module, example_inputs
from coreml_evaluator import CoreMLProgram, Evaluation, UnknownOpError, program
from coreml_evaluator.arguments import Op
from coreml_evaluator.errors import ProgramError, ProgramInputError
from coreml_evaluator.ops import OPS
from coreml_evaluator.precision import round_to_half, round_to_half_
from mobilesam.bundle.contract import COMPONENTS, Component, Contract
from mobilesam.runtimes.bundle import Bundle
from tests.coreml_evaluator.mil_programs import mb, save_program
from tests.rounding import Rounding, amplification, relative_l2
from tests.shared_bundles import demo_bundle, demo_model

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


def reference(contract: Contract, component: Component) -> tuple[dict[str, torch.Tensor], float]:
    """PyTorch's answers, and by how much a float32 program's may differ."""
    module = build_module(demo_model(), component, contract)
    inputs = example_inputs(contract, component).values()
    with torch.no_grad(), Rounding() as rounding:
        outputs = module(*inputs)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    names = [spec.name for spec in contract.signature(component).outputs]
    limit = rounding.tolerance * amplification(module, inputs)
    return dict(zip(names, parts, strict=True)), limit


def evaluated(bundle: Bundle, component: Component) -> tuple[CoreMLProgram, dict[str, Any]]:
    opened = CoreMLProgram(bundle.file(component, "coreml"))
    return opened, opened.run(example_inputs(bundle.manifest.contract, component))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_program_agrees_with_pytorch(component: Component, scheme: str) -> None:
    bundle = demo_bundle("coreml", scheme)
    opened, found = evaluated(bundle, component)
    expected, rounding = reference(bundle.manifest.contract, component)
    limit = rounding if scheme == "fp32" else 5e-3
    assert opened.precision == scheme
    assert set(found) == set(expected)
    for name, value in expected.items():
        error = relative_l2(found[name], value)
        assert error <= limit
        # A float16 program that is this close was never rounded.
        assert scheme == "fp32" or error > 1e-4


@pytest.mark.slow
def test_inputs_survive_and_constants_are_loaded_once() -> None:
    bundle = demo_bundle("coreml", "fp16")
    opened = CoreMLProgram(bundle.file("decoder", "coreml"))
    inputs = example_inputs(bundle.manifest.contract, "decoder")
    copies = {name: value.clone() for name, value in inputs.items()}
    first, second = opened.run(inputs), opened.run(inputs)
    for name, value in inputs.items():
        assert torch.equal(value, copies[name])
    for name in first:
        assert torch.equal(first[name], second[name])


def test_half_program_rounds_every_op(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return mb.mul(x=mb.add(x=x, y=np.float32(1000.0)), y=np.float32(3.1))

    opened = CoreMLProgram(save_program(tmp_path, build, [X], half=True))
    assert opened.precision == "fp16"
    (found,) = opened.run({"in0": X}).values()
    half = np.float16  # NumPy rounds each of its own float16 operations
    np.testing.assert_array_equal(found.numpy(), (X.astype(half) + half(1000)) * half(3.1))


def test_half_overflow_becomes_infinite(tmp_path: Path) -> None:
    path = save_program(tmp_path, lambda x: mb.square(x=x), [X], half=True)
    values = np.full_like(X, 256.0)
    (found,) = CoreMLProgram(path).run({"in0": values}).values()
    assert torch.isinf(found).all()


def test_values_between_float16_inputs_are_rounded(tmp_path: Path) -> None:
    path = save_program(tmp_path, lambda x: mb.relu(x=x), [np.abs(X).astype(np.float16)])
    opened = CoreMLProgram(path)
    assert opened.inputs[0].dtype == "fp16"
    (found,) = opened.run({"in0": np.abs(X)}).values()
    np.testing.assert_array_equal(found.numpy(), np.abs(X).astype(np.float16))


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced", "long", "shared"])
def test_rounding_in_place_is_rounding(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    x = torch.randn(64, 128) * torch.logspace(-8, 6, 128)
    values = {
        "contiguous": x,
        "transposed": x.t(),
        "sliced": x[:, 3:77],
        "long": x.repeat(7, 1),  # than what is rounded at a time
        "shared": x.repeat(70, 1),  # among threads
    }[layout]
    with np.errstate(over="ignore"):  # to infinity, as it should
        expected = torch.from_numpy(values.numpy().astype(np.float16).astype(np.float32))
    assert torch.equal(round_to_half(values), expected)
    assert torch.equal(round_to_half_(values), expected)
    assert torch.equal(values, expected)


def test_cast_to_half_leaves_its_argument_alone(tmp_path: Path) -> None:
    def build(x: Any) -> tuple[Any, Any]:
        rounded = mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32")
        return rounded, mb.add(x=x, y=np.float32(0))

    opened = CoreMLProgram(save_program(tmp_path, build, [X]))
    rounded, kept = opened.run({"in0": X}).values()
    np.testing.assert_array_equal(rounded.numpy(), X.astype(np.float16))
    np.testing.assert_array_equal(kept.numpy(), X)


def test_intermediates_are_freed_after_their_last_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(x: Any) -> Any:
        for _ in range(6):
            x = mb.add(x=x, y=np.float32(1))
        return x

    alive: list[int] = []
    opened = CoreMLProgram(save_program(tmp_path, build, [X]))
    evaluate = CoreMLProgram._evaluate

    def counting(self: CoreMLProgram, step: Any, values: dict[int, Any], *rest: Any) -> None:
        evaluate(self, step, values, *rest)
        alive.append(len(values) - len(self._constants))

    monkeypatch.setattr(program.CoreMLProgram, "_evaluate", counting)
    (found,) = opened.run({"in0": X}).values()
    np.testing.assert_allclose(found.numpy(), X + 6, rtol=1e-6)
    assert alive == [2] * 6  # an op's argument and its output, nothing older


OVERWRITING = [op for op, known in OPS.items() if known.overwriting]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("op", OVERWRITING)
def test_overwriting_op_gives_the_same(tmp_path: Path, op: str, half: bool) -> None:
    """Also where it must not: an input, a value still needed, one that is seen through another."""
    given = {} if op in ("gelu", "relu") else {"y": np.array([[1.5], [2.0], [-0.5]], np.float32)}

    def apply(x: Any) -> Any:
        return getattr(mb, op)(x=x, **given)

    def build(x: Any) -> list[Any]:
        fresh = mb.exp(x=x)
        needed = mb.exp(x=fresh)
        seen = mb.reshape(x=needed, shape=[6, 4])
        return [
            apply(x),
            apply(mb.reshape(x=x, shape=[2, 3, 4])),
            apply(fresh),
            apply(needed),
            seen,
        ]

    opened = CoreMLProgram(save_program(tmp_path, build, [X], half=half))
    before = X.copy()
    found = list(opened.run({"in0": X}).values())
    np.testing.assert_array_equal(X, before)
    observed = list(opened.run({"in0": X}, observe=lambda _: None).values())  # overwrites nothing
    for one, other in zip(found, observed, strict=True):
        assert torch.equal(one, other)


def test_memory_of_a_dead_argument_is_used_again(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return mb.relu(x=mb.add(x=mb.exp(x=x), y=np.float32(1)))

    opened = CoreMLProgram(save_program(tmp_path, build, [X]))
    made: list[torch.Tensor] = []
    exp = OPS["exp"].function
    opened._steps[0] = opened._steps[0]._replace(
        op=Op(lambda a: made.append(exp(a)) or made[0])  # type: ignore[func-returns-value, arg-type]
    )
    (found,) = opened.run({"in0": X}).values()
    assert found.data_ptr() == made[0].data_ptr()


def test_unknown_op_is_named(tmp_path: Path) -> None:
    path = save_program(tmp_path, lambda x: mb.cumsum(x=x, axis=0, name="running"), [X])
    with pytest.raises(UnknownOpError, match=r"op 'cumsum' named 'running'"):
        CoreMLProgram(path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: mb.concat(values=[x, x], axis=0, interleave=True, name="odd"), "interleaves"),
        (lambda x: mb.cast(x=mb.real_div(x=mb.cast(x=x, dtype="int32"), y=2, name="odd"),
                           dtype="fp32"), "divides integers"),
        (lambda x: mb.conv_transpose(x=x, weight=np.ones((3, 2, 2), np.float32), name="odd",
                                     pad_type="same"), "pad_type 'same'"),
        (lambda x: mb.max_pool(x=mb.expand_dims(x=x, axes=[0]), kernel_sizes=[2, 2], name="odd",
                               pad_type="valid", ceil_mode=True), "ceil_mode"),
    ],
)  # fmt: skip
def test_unknown_form_of_an_op_is_named(tmp_path: Path, build: Any, message: str) -> None:
    opened = CoreMLProgram(save_program(tmp_path, build, [X]))
    with pytest.raises(UnknownOpError, match=f"named 'odd'.*{message}"):
        opened.run({"in0": X})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs the input 'in0'"),
        ({"in0": X, "extra": X}, "no input 'extra'"),
        ({"in0": X[0]}, r"shape \[2, 3, 4\], not \[3, 4\]"),
    ],
)
def test_wrong_inputs_are_named(tmp_path: Path, inputs: dict[str, Any], message: str) -> None:
    opened = CoreMLProgram(save_program(tmp_path, lambda x: mb.relu(x=x), [X]))
    with pytest.raises(ProgramInputError, match=message):
        opened.run(inputs)


@pytest.mark.parametrize(
    "damage", ["no folder", "no manifest", "spec", "weights cut", "no weights"]
)
def test_damaged_package_gives_one_sentence(tmp_path: Path, damage: str) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    path = save_program(tmp_path, lambda x: mb.linear(x=x, weight=weight), [X])
    data = path / "Data" / "com.apple.CoreML"
    if damage == "no folder":
        shutil.rmtree(path)
    elif damage == "no manifest":
        (path / "Manifest.json").unlink()
    elif damage == "spec":
        spec = data / "model.mlmodel"
        spec.write_bytes(spec.read_bytes()[: spec.stat().st_size // 2])
    elif damage == "weights cut":
        weights = data / "weights" / "weight.bin"
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    else:
        (data / "weights" / "weight.bin").unlink()
    with pytest.raises(ProgramError) as caught:
        CoreMLProgram(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_value_can_be_observed(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        parts = mb.split(x=mb.relu(x=x, name="positive"), num_splits=3, axis=1)
        return mb.add(x=parts[0], y=parts[2], name="total")

    opened = CoreMLProgram(save_program(tmp_path, build, [X]))
    seen: dict[str, torch.Tensor] = {}

    def keep(evaluated: Evaluation) -> None:
        outputs = opened.ops[evaluated.place].outputs
        seen.update((t.name, v.clone()) for t, v in zip(outputs, evaluated.outputs, strict=True))

    (found,) = opened.run({"in0": X}, keep).values()
    positive = torch.from_numpy(X).relu()
    assert torch.equal(seen["positive"], positive)
    assert torch.equal(seen["total"], positive[:, :1] + positive[:, 2:])
    assert torch.equal(found, seen["total"])
    parts = [name for name in seen if name not in ("positive", "total")]
    assert [torch.equal(seen[n], positive[:, i : i + 1]) for i, n in enumerate(parts)] == [True] * 3
