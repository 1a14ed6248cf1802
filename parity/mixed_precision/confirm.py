"""A plan exported as users export it, and judged on photos that no search has seen."""

from dataclasses import dataclass
from pathlib import Path

from converters import export
from parity.comparison import compare
from parity.report import Report


@dataclass(frozen=True)
class Confirmed:
    """What a plan came to as a bundle.

    Attributes:
        bundle: its folder.
        report: of `mobilesam parity`.
        miou: mean IoU of all masks end to end, at the photos' size.
        size_bytes: of both files.
    """

    bundle: Path
    report: Report
    miou: float
    size_bytes: int


def confirm(
    plan_file: Path,
    out: Path,
    *,
    weights: str | Path,
    image_size: int,
    images: Path | None,
    skip_unusable: bool = False,
    progress: bool,
) -> Confirmed:
    """Export a plan and judge it.

    Args:
        plan_file: TOML file of a plan.
        out: folder for the bundle.
        weights, image_size: as of :func:`converters.export`.
        images: folder of photos to judge on; None: those that bundles are judged on.
        skip_unusable: go on without photos that cannot be used.
        progress: show it.
    """
    (made,) = export(
        schemes=[str(plan_file)], weights=weights, out=out, image_size=image_size, progress=False
    )
    report = compare(
        [made.path],
        images=images,
        weights=weights,
        measure=False,
        skip_unusable=skip_unusable,
        progress=progress,
    )
    (bundle,) = report.bundles
    (tradeoff,) = report.tradeoffs
    return Confirmed(
        bundle=made.path,
        report=report,
        miou=float("nan") if tradeoff.mask_iou is None else tradeoff.mask_iou,
        size_bytes=sum(bundle.size_bytes.values()),
    )
