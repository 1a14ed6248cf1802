"""What the tests of this folder share beside fixtures."""

from collections.abc import Callable
from typing import Any

from mobilesam.runtimes.base import BundleRunner
from parity.schema import BundleReport

SIZE = 256
"""Side of the frame where a test needs no full size."""

FLOAT = ("fp32", "fp16")
"""Schemes that are judged at this size; those that compress have tests of their own, and limits
set at full size."""

Change = Callable[[BundleRunner], None]
Judge = Callable[..., BundleReport]

OTHERS: dict[str, dict[str, Any]] = {
    "onnx-fp32": {"seed": 1, "input_variant": "normalized", "slots": 8},
    "onnx-fp16": {"seed": 1, "input_variant": "normalized", "slots": 8},
    "tflite-fp32": {"seed": 2, "input_variant": "pixels", "slots": 4},
    "tflite-fp16": {"seed": 2, "input_variant": "pixels", "slots": 4},
    "coreml-fp32": {"seed": 3, "input_variant": "normalized", "slots": 16},
    "coreml-fp16": {"seed": 3, "input_variant": "normalized", "slots": 16},
    "torchscript-fp32": {"seed": 4, "input_variant": "normalized", "slots": 3},
}
"""Bundles that differ from the default in weights, input variant and slots."""


def failed(report: BundleReport) -> set[tuple[str, str]]:
    """Stage and metric of every check that failed."""
    return {(check.stage, check.metric) for check in report.checks if not check.passed}


def failing_prompts(report: BundleReport, metric: str) -> set[str]:
    """Prompt types for which a metric of the decoder alone failed, as the check names them."""
    (check,) = [c for c in report.checks if (c.stage, c.metric) == ("decoder", metric)]
    _, _, listed = check.where.partition("fails for ")
    return set(listed.split(", ")) if listed else set()
