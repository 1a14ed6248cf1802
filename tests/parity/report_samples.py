"""Reports made up for the tests of what is drawn from them."""

import numpy as np
from PIL import Image

from mobilesam.bundle.contract import COMPONENTS
from mobilesam.inference.drawing import data_uri
from parity.report import Report
from parity.schema import (
    BundleReport,
    CaseMetrics,
    Check,
    EncoderMetrics,
    MaskMetrics,
    Measurement,
    Stage,
    Timing,
)

PROMPTS = ("one_point", "two_points", "box", "box_and_point", "mask_refinement")
IMAGES = ("astronaut", "coffee", "chelsea")
PIXEL = data_uri(Image.new("RGB", (8, 2), (30, 60, 90)))


def encoder(scale: float) -> list[EncoderMetrics]:
    return [
        EncoderMetrics(
            image=image,
            finite=True,
            max_abs_error=scale * 10 * (i + 1),
            relative_l2=scale * (i + 1),
            channel_relative_l2=scale * 3 * (i + 1),
            cosine=1 - scale**2,
            psnr_db=None if scale == 0 else 120.0 - i,
        )
        for i, image in enumerate(IMAGES)
    ]


def case(image: str, kind: str, stage: Stage, ious: list[float | None]) -> CaseMetrics:
    return CaseMetrics(
        image=image,
        prompt=kind.replace("_", " "),
        prompt_type=kind,
        stage=stage,
        finite=True,
        degenerate=ious[0] is None,
        masks=[
            MaskMetrics(
                channel=channel,
                mask_iou=iou,
                boundary_iou=None if iou is None else iou**2,
                logit_max_abs_error=2e-3,
                logit_relative_l2=3.1e-6 * (channel + 1),
                iou_prediction_error=-4e-7 * (channel + 1),
            )
            for channel, iou in enumerate(ious)
        ],
        chosen_reference=1 if kind == "one_point" else 0,
        chosen_export=1 if kind == "one_point" else 0,
        shown_iou=ious[0],
        human_iou_reference=0.81 if image == "coffee" else None,
        human_iou_export=0.79 if image == "coffee" else None,
    )


def cases(distance: float, seed: int = 0) -> list[CaseMetrics]:
    random = np.random.default_rng(seed)
    found = []
    for stage, factor in (("decoder", 0.2), ("end_to_end", 1.0)):
        for image in IMAGES:
            for kind in PROMPTS:
                far = distance * factor * random.exponential(size=4)
                ious: list[float | None] = [float(v) for v in np.clip(1 - far, 0, 1)]
                if (image, kind) == ("chelsea", "box"):
                    ious[3] = None
                found.append(case(image, kind, stage, ious))  # type: ignore[arg-type]
    return found


def check(value: float | None, *, passed: bool, metric: str = "mask_iou_min") -> Check:
    return Check(
        metric=metric,
        stage="end_to_end",
        value=value,
        comparison=">=",
        threshold=0.99,
        passed=passed,
        where="coffee, box, mask 2",
    )


def measurements(factor: float = 1.0, *, real: bool = True) -> list[Measurement]:
    return [
        Measurement(
            component=component,
            load_s=0.31,
            timing=Timing(median_s=seconds * factor, p90_s=seconds * factor * 1.1, runs=7),
            peak_memory_mb=401.5,
            baseline_memory_mb=90.25,
            threads=2,
            delegate_partitions=1 if factor < 1 else None,
            representative=real,
        )
        for component, seconds in zip(COMPONENTS, (1.612, 0.1004), strict=True)
    ]


def bundle(target: str = "tflite", scheme: str = "fp32", **more: object) -> BundleReport:
    fields: dict[str, object] = {
        "bundle": f"{target}-{scheme}",
        "path": f"exports/{target}-{scheme}",
        "target": target,
        "scheme": scheme,
        "runtime": "litert",
        "engine": "LiteRT 2.3.0 (XNNPACK)",
        "weights": "mine",
        "verdict": "PASS",
        "reasons": [],
        "checks": [
            Check(
                metric="relative_l2",
                stage="encoder",
                value=1.03e-6,
                comparison="<=",
                threshold=1e-4,
                passed=True,
                where="chelsea",
            ),
            check(0.99912, passed=True),
        ],
        "size_bytes": {"encoder": 28_112_345, "decoder": 20_601_234},
        "encoder": encoder(1e-6),
        "cases": cases(1e-4),
        "measurements": measurements(0.5),
        "worst_case": "coffee, box",
        "worst_picture": PIXEL,
    }
    return BundleReport.model_validate({**fields, **more})


def failing() -> BundleReport:
    """The outputs held a NaN, one figure misses by a hair, and a text is hostile."""
    broken = cases(3e-2)
    broken[-1] = broken[-1].model_copy(update={"finite": False, "chosen_export": 3})
    broken[-1].masks[0].logit_relative_l2 = float("nan")
    images = encoder(1e-3)
    images[0].relative_l2 = images[0].cosine = float("nan")
    images[0].finite = False
    return bundle(
        "onnx",
        "fp16",
        runtime="onnxruntime",
        engine="ONNX Runtime 1.31.1",
        verdict="FAIL",
        checks=[
            check(0.98999, passed=False),
            check(None, passed=False, metric="finite"),
            check(0.98999999, passed=False, metric="mask_iou_mean"),
        ],
        reasons=["mask <b>|0|</b> & co \x00 differ", "a value is not finite"],
        encoder=images,
        cases=broken,
    )


def emulated() -> BundleReport:
    return bundle(
        "coreml",
        "fp16",
        runtime="coreml",
        engine="MIL evaluator (torch, fp16)",
        measurements=measurements(3.0, real=False),
    )


def altered() -> BundleReport:
    """Nothing was run: the file differs from its digest."""
    return bundle(
        "executorch",
        "fp32",
        runtime="executorch",
        verdict="FAIL",
        reasons=["encoder.pte differs from the manifest's SHA-256"],
        checks=[],
        encoder=[],
        cases=[],
        measurements=[],
        worst_case=None,
        worst_picture=None,
    )


def report(*bundles: BundleReport, **more: object) -> Report:
    fields: dict[str, object] = {
        "created": "2026-01-02T03:04:05+00:00",
        "tool_version": "0.1.0",
        "machine": {"system": "Linux 6.1", "processor": "x86_64", "cores": "2"},
        "weights": {"name": "mine", "sha256": "6dbb90523a35330f"},
        "images": list(IMAGES),
        "prompt_types": list(PROMPTS),
        "degenerate_rule": "A mask is degenerate when it covers < 0.1% of the image.",
        "thresholds_file": "parity/thresholds.toml",
        "command": "mobilesam parity exports/*/ --threads 2",
        "reference": measurements(),
        "gallery": {"astronaut, one point": PIXEL},
        "bundles": list(bundles),
    }
    return Report.model_validate({**fields, **more})


def mixed() -> Report:
    """Some of everything, with the demo weights."""
    return report(
        bundle(),
        failing(),
        emulated(),
        altered(),
        weights={"name": "demo"},
    )
