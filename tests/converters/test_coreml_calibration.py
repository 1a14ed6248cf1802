"""Activation ranges over every sample, and the grids made of them; and why coremltools' are not."""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.coreml.calibration import Range, activation_ranges, quantize_activations
from coreml_evaluator import CoreMLProgram
from mobilesam.errors import ExportError
from mobilesam.model.sam import MobileSAM
from tests.coreml_evaluator.mil_programs import ct, mb, save_program
from tests.specs import make_job

from converters.coreml.passes import int8_grid, quantize_inputs  # isort: skip - needs coremltools

RANDOM = np.random.default_rng(0)
SAMPLES = [RANDOM.normal(scale=scale, size=(2, 8)).astype(np.float32) for scale in (1, 9, 2)]


def layers(x: Any) -> Any:
    """Two linear layers that share an input, their sum, and a third."""
    first, second, third = (
        mb.const(val=RANDOM.normal(size=(8, 8)).astype(np.float32), name=name)
        for name in ("first", "second", "third")
    )
    shared = mb.relu(x=x, name="shared")
    one = mb.linear(x=shared, weight=first, name="one")
    two = mb.linear(x=shared, weight=second, name="two")
    total = mb.add(x=one, y=two, name="total")
    return mb.linear(x=total, weight=third, name="last")


@pytest.fixture(scope="module")
def half_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layers in float16."""
    return save_program(tmp_path_factory.mktemp("half"), layers, SAMPLES[:1], ios=17, half=True)


def test_a_range_covers_every_sample(tmp_path: Path) -> None:
    package = save_program(tmp_path, layers, SAMPLES[:1], ios=17)
    found = activation_ranges(package, [{"in0": sample} for sample in SAMPLES])
    relued = np.maximum(np.concatenate(SAMPLES), 0)
    assert found["shared"] == Range(0.0, float(relued.max()))
    assert set(found) >= {"shared", "one", "two", "total"}
    outputs = [CoreMLProgram(package).run({"in0": sample}) for sample in SAMPLES]
    (name,) = outputs[0]
    values = np.concatenate([output[name].numpy() for output in outputs])
    assert found[name] == Range(float(values.min()), float(values.max()))


def test_coremltools_own_range_forgets_every_sample_but_the_last() -> None:
    """Why its statistics are not used; when this fails, the bug is gone."""
    from coremltools.optimize.coreml.experimental._post_training_quantization import (
        _update_tensor_range,
    )

    stats: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in SAMPLES:
        _update_tensor_range("x", sample, stats)
    assert stats["x"]["rmax"] == SAMPLES[-1].max() < np.concatenate(SAMPLES).max()


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac can predict")
def test_coremltools_cannot_calibrate_off_a_mac(half_program: Path) -> None:
    """Why the evaluator measures; when this fails, coremltools can do it alone."""
    from coremltools.optimize import coreml as optimize

    config = optimize.OptimizationConfig(global_config=optimize.OpLinearQuantizerConfig())
    model = ct.models.MLModel(str(half_program), skip_model_load=True)
    with pytest.raises(Exception, match="predict|load|Framework|macOS"):
        optimize.linear_quantize_activations(model, config, [{"in0": SAMPLES[0]}])


def test_a_sample_that_overflows_is_named(half_program: Path) -> None:
    with pytest.raises(ExportError, match="'.*' of program.mlpackage is not finite on a sample"):
        activation_ranges(half_program, [{"in0": np.full((2, 8), 6e4, np.float32)}])


def test_no_sample_is_an_error(half_program: Path) -> None:
    with pytest.raises(ExportError, match="no sample to calibrate on"):
        activation_ranges(half_program, [])


def test_a_tensor_that_several_layers_read_is_quantized_once(
    half_program: Path, tmp_path: Path
) -> None:
    from coremltools.models.utils import _apply_graph_pass

    ranges = activation_ranges(half_program, [{"in0": sample} for sample in SAMPLES])
    model = ct.models.MLModel(str(half_program), skip_model_load=True)
    quantized = _apply_graph_pass(model, quantize_inputs(ranges), skip_model_load=True)
    path = tmp_path / "quantized.mlpackage"
    quantized.save(str(path))
    program = CoreMLProgram(path)
    assert program.op_types["quantize"] == program.op_types["dequantize"] == 2
    assert program.op_types["linear"] == 3
    for sample in SAMPLES:
        (wanted,) = CoreMLProgram(half_program).run({"in0": sample}).values()
        (found,) = program.run({"in0": sample}).values()
        # Two inputs in 256 steps of the range over all samples, through random 8 x 8 weights.
        steps = [(high - low) / 255 for low, high in ranges.values()]
        assert 0 < float((found - wanted).abs().max()) < 8 * max(steps)


def test_float32_inputs_are_left_alone(tmp_path: Path) -> None:
    from coremltools.models.utils import _apply_graph_pass

    package = save_program(tmp_path, layers, SAMPLES[:1], ios=17)
    ranges = activation_ranges(package, [{"in0": SAMPLES[0]}])
    model = ct.models.MLModel(str(package), skip_model_load=True)
    same = _apply_graph_pass(model, quantize_inputs(ranges), skip_model_load=True)
    path = tmp_path / "same.mlpackage"
    same.save(str(path))
    assert "quantize" not in CoreMLProgram(path).op_types


def test_without_photos_there_is_nothing_to_quantize_with(
    half_program: Path, tiny_model: MobileSAM, tmp_path: Path
) -> None:
    job = make_job(tiny_model, "encoder", tmp_path, scheme="w8a8")
    model = ct.models.MLModel(str(half_program), skip_model_load=True)
    with pytest.raises(ExportError, match="'w8a8' needs photos to be calibrated on"):
        quantize_activations(model, job)


Finite = st.floats(-3e4, 3e4, width=16)


@given(Finite, Finite)
def test_a_grid_holds_its_range_and_zero(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    scale, zero = int8_grid(low, high, np.float16)
    assert isinstance(scale, np.float16) and isinstance(zero, np.int8)
    step = float(scale)
    assert step > 0
    if step == 1.0 and high - low < 1:
        return  # less than float16 has steps for
    least, greatest = step * (-128 - int(zero)), step * (127 - int(zero))
    # Half a step for the zero point, and what rounding the scale to float16 moves 255 steps.
    slack = step / 2 + 255 * max(step * 2**-11, 2**-25)
    assert least <= min(low, 0) + slack and greatest >= max(high, 0) - slack
