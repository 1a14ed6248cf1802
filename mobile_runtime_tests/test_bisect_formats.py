"""`bisect` looks into ONNX and TFLite too: a wrong weight is found, a right file has no fault.

There not every op is aligned; a fault is then located as one of a few ops in a row.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converters.tflite.file import read_model, write_model
from mobile_runtime_tests.test_bisect_faults import REAL, change, outputs_of, subject
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.errors import BundleError
from parity.bisection.engine import Operation
from parity.bisection.formats import FORMATS, open_engine
from parity.bisection.run import bisect_model, examine
from parity.bisection.sides import Sides
from parity.bisection.verdict import find_fault
from parity.thresholds import Thresholds
from tests.tiny_bundles import tiny_bundle, tiny_model

OF_EACH = 2
"""Faults planted in each component."""

ALIGNED = {"onnx": 0.85, "tflite": 0.2}
"""The least share of a file's ops that can be told to be nodes of the model."""

FARTHEST = 4
"""Ops from one that reads a weight to the next that can be told, at most."""


@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
@pytest.mark.parametrize("target", ALIGNED)
def test_good_files_have_no_fault(target: str, scheme: str) -> None:
    limits = Thresholds().row(target, scheme).layers
    bundle = tiny_bundle(target, scheme)
    report = bisect_model(bundle, tiny_model(), subject(), limits)
    print(f"\n{bundle.name}: {report.conclusion}")
    assert report.verdict == "no fault", report.conclusion
    for part in report.components:
        excess = max(op.excess or 0.0 for op in part.ops)
        print(f"{part.component}: aligned {part.aligned} of {len(part.ops)}, excess {excess:.2f}")
        assert part.aligned >= ALIGNED[target] * len(part.ops)


def test_quantized_tflite_files_are_ranked_or_refused() -> None:
    bundle = tiny_bundle("tflite", "w8")
    report = bisect_model(bundle, tiny_model(), subject(), None)
    for part in report.components:
        print(f"{part.component}: aligned {part.aligned} of {len(part.ops)}")
        # Fewer than in fp32: reading tables adds ops.
        assert part.aligned >= 0.15 * len(part.ops)
    static = tiny_bundle("tflite", "w8a8")
    with pytest.raises(BundleError, match=r"computes with integers .*mobilesam sensitivity"):
        bisect_model(static, tiny_model(), subject(), None)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("target", ALIGNED)
def test_no_weight_is_far_from_a_value_that_can_be_told(target: str, component: Component) -> None:
    bundle = tiny_bundle(target)
    program = Sides(tiny_model(), bundle, subject()).program(component)
    engine, told, _ = open_engine(bundle, component, bundle.runtimes[0], program)
    readers = defaultdict(list)
    for operation in engine.operations:
        for operand in operation.inputs:
            readers[operand.value.name].append(operation)

    def to_the_next_told(operation: Operation) -> int:
        if any(value.name in told for value in operation.outputs):
            return 0
        after = {id(r): r for value in operation.outputs for r in readers[value.name]}
        return 1 + min(map(to_the_next_told, after.values()), default=FARTHEST)

    for operation in engine.operations:
        sizes = [np.prod([s or 1 for s in o.value.shape]) for o in operation.inputs if o.constant]
        if any(size >= 64 for size in sizes):
            assert to_the_next_told(operation) <= FARTHEST, operation.name


def wrong_onnx(path: Path, name: str, copy: Path) -> None:
    """A tenth of a constant's values change their sign."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    (stored,) = (c for c in model.graph.initializer if c.name == name)
    values = numpy_helper.to_array(stored).copy()
    values.reshape(-1)[::10] *= -1
    stored.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save_model(model, str(copy))


def wrong_tflite(path: Path, name: str, copy: Path) -> None:
    """The same of a TFLite tensor, whose number begins its name."""
    model = read_model(path.read_bytes())
    buffer = model.buffers[model.subgraphs[0].tensors[int(name.partition(":")[0])].buffer]
    values = np.frombuffer(bytes(buffer.data), np.float32).copy()
    values[::10] *= -1
    buffer.data = values.view(np.uint8)
    copy.write_bytes(write_model(model))


WRONG: dict[str, Callable[[Path, str, Path], None]] = {"onnx": wrong_onnx, "tflite": wrong_tflite}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("target", WRONG)
def test_wrong_weights_are_located(target: str, component: Component, scratch: Path) -> None:
    from importlib import import_module

    open_aligned = import_module(f"parity.bisection.{FORMATS[target].module}").open_aligned
    bundle = tiny_bundle(target)
    path = bundle.file(component, bundle.runtimes[0])
    sides = Sides(tiny_model(), bundle, subject())
    limits = Thresholds().row(target, "fp32").layers
    model = sides.program(component), sides.outputs(component)
    engine = open_aligned(path, *model).engine
    good = outputs_of(engine, sides, component)
    readers: dict[str, str] = {}
    for operation in engine.operations:
        for operand in operation.inputs:
            size = int(np.prod([side or 1 for side in operand.value.shape]))
            if operand.constant and operand.value.dtype == "float32" and size >= 64:
                readers.setdefault(operand.value.name, operation.name)
    candidates = list(readers.items())
    random.Random(0).shuffle(candidates)
    exact = planted = 0
    for number, (constant, reader) in enumerate(candidates):
        if planted == OF_EACH:
            break
        copy = scratch / f"{number}{path.suffix}"
        WRONG[target](path, constant, copy)
        opened = open_aligned(copy, *model)
        bad = outputs_of(opened.engine, sides, component)
        if change(good[reader], bad[reader]) < REAL["fp32"]:
            continue  # the constant does not matter for this prompt
        planted += 1
        records = examine(opened, sides.inputs(component))
        located = find_fault(opened.engine, records, limits)
        assert located is not None, f"{constant} at {reader}"
        assert reader in located.span, f"{reader} taken for {located.op.name}"
        exact += located.op.name == reader
        print(f"\n{reader}: located, among {len(located.span)}")
    assert planted == OF_EACH
    print(f"{target} {component}: {exact} of {planted} exactly")
