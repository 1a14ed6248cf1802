"""Ranges that an export notes: the methods of calibration are the libraries' own."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.activation_ranges import _range


@pytest.fixture
def samples() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(500, generator=generator) * (1 + i) + 0.3 for i in (0, 2, 1, 4)]


def noted(target: str, method: str, samples: Sequence[Tensor]) -> tuple[float, float]:
    made = _range(target, method)
    for sample in samples:
        made.see(sample)
    return made.found()


def test_least_and_greatest_values(samples: list[Tensor]) -> None:
    values = torch.cat(samples)
    assert noted("onnx", "min-max", samples) == (float(values.min()), float(values.max()))


def test_the_average_of_torchao(samples: list[Tensor]) -> None:
    observers = pytest.importorskip("torchao.quantization.pt2e")
    observer = observers.MovingAverageMinMaxObserver()
    for sample in samples:
        observer(sample)
    wanted = float(observer.min_val), float(observer.max_val)
    assert noted("executorch", "moving-average", samples) == pytest.approx(wanted, rel=1e-5)


def test_the_average_of_ai_edge_quantizer(samples: list[Tensor]) -> None:
    updates = pytest.importorskip("ai_edge_quantizer.utils.qsv_utils")
    found: dict[str, np.ndarray] = {}
    for sample in samples:
        bounds = {"min": sample.min().numpy(), "max": sample.max().numpy()}
        found = updates.moving_average_update(found, bounds)
    wanted = float(found["min"]), float(found["max"])
    assert noted("tflite", "moving-average", samples) == pytest.approx(wanted, rel=1e-5)


def test_the_entropy_of_onnx_runtime_cuts_nothing(samples: list[Tensor]) -> None:
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    collector = calibrate.HistogramCollector(
        "entropy", False, num_bins=128, num_quantized_bins=128, percentile=None, scenario="same"
    )
    collector.collect({"x": [sample.numpy() for sample in samples]})
    low, high, *_ = collector.compute_collection_result()["x"]
    assert noted("onnx", "entropy", samples) == pytest.approx((float(low), float(high)), rel=1e-5)


def test_the_squared_error_of_torchao(samples: list[Tensor]) -> None:
    pytest.importorskip("torchao.quantization.pt2e")
    low, high = noted("executorch", "mse", samples)
    least, greatest = noted("executorch", "min-max", samples)
    assert least * 1.01 <= low < 0 < high <= greatest * 1.01
