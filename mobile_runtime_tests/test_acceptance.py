"""The release requirement, at full size: every target's files draw PyTorch's masks."""

from pathlib import Path

import pytest

from conftest import THREADS
from converters.export import export
from converters.schemes import combinations
from parity.cases import PROMPT_TYPES
from parity.schema import BundleReport, ParityReport
from parity.suite import run_parity

ENCODER_L2 = {"fp32": 1e-4, "fp16": 5e-3}
MASK_IOU = 0.99


@pytest.fixture(scope="module")
def report(folder: Path) -> ParityReport:
    """Every target in every scheme at 1024, judged on the built-in photos."""
    results = export(out=folder / "full", image_size=1024, progress=False)
    return run_parity([r.path for r in results], measure=False, progress=False, threads=THREADS)


@pytest.mark.parametrize(("target", "scheme"), combinations())
def test_masks_are_pytorchs(report: ParityReport, target: str, scheme: str) -> None:
    own = [b for b in report.bundles if (b.target, b.scheme) == (target, scheme)]
    assert own
    for bundle in own:
        worst_l2 = max(metrics.relative_l2 for metrics in bundle.encoder)
        ious = _ious(bundle)
        print(
            f"\n{bundle.bundle} on {bundle.runtime}: encoder relative L2 {worst_l2:.2g}; "
            f"end to end mask IoU mean {sum(ious) / len(ious):.5f}, least {min(ious):.5f} "
            f"of {len(ious)} masks"
        )
        assert bundle.verdict == "PASS", bundle.reasons
        assert worst_l2 <= ENCODER_L2[scheme]
        if scheme == "fp32":
            assert min(ious) >= MASK_IOU


def test_every_prompt_type_has_masks_to_judge_by(report: ParityReport) -> None:
    for bundle in report.bundles:
        for kind in PROMPT_TYPES:
            own = [case for case in bundle.cases if case.prompt_type == kind]
            assert any(not case.degenerate for case in own), kind


def _ious(bundle: BundleReport) -> list[float]:
    return [
        mask.mask_iou
        for case in bundle.cases
        for mask in case.masks
        if case.stage == "end_to_end" and mask.mask_iou is not None
    ]
