"""Tiny Core ML programs for tests: built with coremltools, saved, read back."""

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
from coremltools.converters.mil.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil.mil import types  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.ERROR)

Build = Callable[..., Any]
"""Variables to one output variable, or several."""


def build_program(build: Build, arrays: Sequence[np.ndarray], ios: int = 16) -> Any:
    """An unsaved program whose inputs have the arrays' shapes and dtypes."""
    names = [f"in{i}" for i in range(len(arrays))]
    specs = {
        np.dtype(np.float32): types.fp32,
        np.dtype(np.float16): types.fp16,
        np.dtype(np.int32): types.int32,
    }
    inputs = [mb.TensorSpec(np.shape(a), dtype=specs[a.dtype]) for a in arrays]
    target = getattr(ct.target, f"iOS{ios}")
    scope = {"build": build}
    # mb.program takes the inputs' names from the function's own parameters.
    exec(f"def function({', '.join(names)}): return build({', '.join(names)})", scope)
    return mb.program(input_specs=inputs, opset_version=target)(scope["function"])


def save_program(
    folder: Path, build: Build, arrays: Sequence[np.ndarray], ios: int = 16, half: bool = False
) -> Path:
    """The program as an .mlpackage, no op optimised away."""
    gc.freeze()  # ct.convert collects garbage each time: a second, with torch imported
    model = ct.convert(
        build_program(build, arrays, ios),
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.DEFAULT if half else ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    path = folder / "program.mlpackage"
    model.save(str(path))
    return path


def fold(build: Build, arrays: Sequence[np.ndarray], ios: int = 16) -> list[np.ndarray] | None:
    """What coremltools itself computes when the inputs are constants; None if it does not."""
    found: list[Any] = []

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=getattr(ct.target, f"iOS{ios}"))
    def program(unused: Any) -> Any:
        result = build(*(mb.const(val=array) for array in arrays))
        found.extend(result if isinstance(result, list | tuple) else [result])
        return mb.identity(x=unused)

    values = [_value(var) for var in found]
    return None if any(value is None for value in values) else [np.asarray(v) for v in values]


def _value(var: Any) -> Any:
    """A folded value; that of a compressed or dequantized constant is computed when asked for."""
    materialize = getattr(var.op, "materialized_val_inference", None)
    return materialize() if var.val is None and materialize else var.val
