"""The parts of `bisect`, on graphs small enough to know the answer."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from converters.base import capture
from converters.layer_names import computing_nodes, named
from converters.modules import HIDDEN
from mobilesam.bundle.tensors import Signature, TensorSpec
from parity.bisection.alignment import Aligned, Match, align, align_by_layer, match
from parity.bisection.engine import EvaluatedOp, Observer, Operation, OpInput, Value
from parity.bisection.noise import ROUNDING, Jitter
from parity.bisection.op_errors import Measured, measure
from parity.bisection.reference import Reference
from parity.headroom import headroom_bits, largest_of


class Small(nn.Module):
    """A linear layer, a difference of near-equal values, a softmax."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return torch.softmax((y + 100.0) - 100.0, dim=-1)


NAMES = ("first__linear", "add", "sub", "answer")


def captured(model: nn.Module) -> ExportedProgram:
    """As a converter captures it, its nodes named after their layers."""
    x = TensorSpec("x", (4, 8), "float32", ("row", "column"), "anything")
    return named(capture(model, (torch.from_numpy(X),), Signature("small", (x,), ())))


class SmallEngine:
    """The same in "float16", as a file would hold it; each op can be given a fault."""

    title = "small"
    copying = frozenset({"cast"})
    moving: frozenset[str] = frozenset()
    inputs: tuple[Value, ...] = (Value("x", (4, 8), "float32"),)

    def __init__(self, model: Small, faults: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        weight, bias = model.first.weight.half().float(), model.first.bias.half().float()
        self._functions: list[Callable[[Tensor], Tensor]] = [
            lambda x: x,
            lambda x: torch.nn.functional.linear(x, weight, bias),
            lambda x: x + 100.0,
            lambda x: x - 100.0,
            lambda x: torch.softmax(x, dim=-1),
        ]
        names = ["x_to_fp16", *(f"{name}_cast_fp16" for name in NAMES)]
        self._faults = {place: faults.get(name) for place, name in enumerate(("x", *NAMES))}
        read = ["x", *names[:-1]]
        self.operations = tuple(
            Operation(
                name,
                "cast" if place == 0 else "op",
                (OpInput(Value(source, (4, 8), "float32" if place == 0 else "float16"), False),),
                (Value(name, (4, 8), "float16"),),
            )
            for place, (name, source) in enumerate(zip(names, read, strict=True))
        )

    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer) -> None:
        value = torch.from_numpy(inputs["x"])
        for place, _ in enumerate(self.operations):
            again = self._again(place)
            (given,) = (value,)
            (value,) = again([given])
            observe(EvaluatedOp(place, (given,), (value,), again))

    def _again(self, place: int) -> Callable[[Sequence[Tensor]], tuple[Tensor]]:
        def evaluate(given: Sequence[Tensor]) -> tuple[Tensor]:
            result = self._functions[place](given[0])
            fault = self._faults[place]
            return ((fault(result) if fault else result).half().float(),)

        return evaluate


@pytest.fixture(scope="module")
def small() -> Small:
    return Small().eval().requires_grad_(False)


X = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


def measured(small: Small, **faults: Callable[[Tensor], Tensor]) -> dict[str, Measured]:
    engine = SmallEngine(small, faults)
    program = captured(small)
    found = measure(Aligned(engine, align_by_layer(engine, program, ["answer"]), program), {"x": X})
    return dict(zip(("x", *NAMES), found, strict=True))


def test_rounding_is_no_fault_even_where_it_cancels(small: Small) -> None:
    found = measured(small)
    assert all(each.aligned for each in found.values())
    sub = found["sub"]
    assert sub.after is not None and sub.local is not None and sub.excess is not None
    assert sub.local > 1e-2  # float16 keeps 0.06 beside 100: the difference has few digits left
    assert all(each.excess is not None and each.excess < 2 for each in found.values())


def test_an_op_that_is_wrong_stands_out_alone(small: Small) -> None:
    found = measured(small, add=lambda x: x * 1.05)
    assert found["add"].excess is not None and found["add"].excess > 20
    others = [each.excess for name, each in found.items() if name != "add"]
    assert all(excess is not None and excess < 2 for excess in others)
    assert found["answer"].after is not None and found["answer"].after > 0.01


def test_one_element_that_is_wrong_stands_out(small: Small) -> None:
    def one(x: Tensor) -> Tensor:
        changed = x.clone()
        changed[2, 3] += 0.05
        return changed

    found = measured(small, first__linear=one)
    assert found["first__linear"].excess is not None and found["first__linear"].excess > 10


def test_an_overflow_is_not_finite(small: Small) -> None:
    found = measured(small, sub=lambda x: x * 1e30)
    assert not found["sub"].finite
    assert found["sub"].excess == math.inf
    assert found["sub"].largest is None
    assert found["add"].finite


def test_reference_computes_what_the_model_does_and_frees_the_rest(small: Small) -> None:
    program = captured(small)
    nodes = {node.name: node for node in computing_nodes(program)}
    kept = [nodes["first__linear"], nodes["first__linear"], nodes["softmax"]]
    reference = Reference(program, {"x": torch.from_numpy(X)}, kept)
    for _ in range(2):
        value = reference.value(nodes["first__linear"])
        assert torch.equal(value, small.first(torch.from_numpy(X)))
        reference.release(nodes["first__linear"])
    assert torch.equal(reference.value(nodes["softmax"]), small(torch.from_numpy(X)))
    assert set(reference._values) == {nodes["softmax"]}


def test_jitter_moves_by_half_a_unit_and_leaves_short_numbers() -> None:
    x = torch.tensor([0.0, 2.0, -0.5, -30000.0, math.pi, -1e-3])
    moved = Jitter().moved(x, ROUNDING["float16"].unit)
    assert torch.equal(moved[:3], x[:3])
    change = ((moved - x) / x)[4:].abs()
    assert torch.allclose(change, torch.full_like(change, 2.0**-11), rtol=1e-3)
    whole = torch.arange(5, dtype=torch.int32)
    assert Jitter().moved(whole, 2.0**-11) is whole


def test_values_are_matched_by_name_shape_and_neighbours(small: Small) -> None:
    program = captured(small)
    nodes = {node.name: node for node in computing_nodes(program)}
    assert match(nodes["add"], Value("add", (4, 1, 8), "float32")) is not None
    assert match(nodes["add"], Value("add", (8, 4), "float32")) is None

    engine = SmallEngine(small, {})
    # With one name lost, the value is told by what it reads and what reads it; with two it is not.
    known = {name: nodes[name] for name in ("first__linear", "sub")}
    found = align(engine, lambda value, _: known.get(value.name.removesuffix("_cast_fp16")))
    assert found["add_cast_fp16"].node is nodes["add"]
    assert "answer_cast_fp16" not in found
    lone = {"first__linear": nodes["first__linear"]}
    found = align(engine, lambda value, _: lone.get(value.name.removesuffix("_cast_fp16")))
    assert set(found) == {"first__linear_cast_fp16"}


def test_a_match_lays_a_value_out_as_the_file_does(small: Small) -> None:
    node = next(iter(captured(small).graph.nodes))
    value = torch.arange(6.0).reshape(1, 2, 3)
    assert torch.equal(Match(node, (3, 2), (0, 2, 1)).arrange(value), value[0].T)
    assert Match(node, (5, 2, 3)).arrange(value).shape == (5, 2, 3)


def test_headroom_counts_bits_and_leaves_hidden_scores_out() -> None:
    assert headroom_bits(65504.0) == 0
    assert headroom_bits(65504.0 / 8) == pytest.approx(3)
    assert headroom_bits(131008.0) == pytest.approx(-1)
    assert headroom_bits(0.0) is None and headroom_bits(None) is None
    assert largest_of(torch.tensor([1.0, -7.5])) == 7.5
    assert largest_of(torch.tensor([3.0, HIDDEN, HIDDEN + 20, HIDDEN - 20])) == 3.0
    assert largest_of(torch.tensor([3.0, -HIDDEN])) == -HIDDEN
    assert largest_of(torch.tensor([3.0, math.inf])) is None
    assert largest_of(torch.tensor([3])) is None
