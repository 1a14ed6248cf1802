"""The figures of the overview, which every output shows: one line for each bundle and runtime."""

from collections import Counter
from dataclasses import dataclass

from mobilesam.weights.demo import DEMO, DEMO_NOTE
from parity.report import figures
from parity.report.aggregate import Spread, shown_differs, shown_spread, spread
from parity.report.latency import ratio
from parity.report.tradeoff import tradeoffs
from parity.schema import BundleReport, Headroom, Measurement, ReportData, Tradeoff


@dataclass(frozen=True)
class Cost:
    """What a component costs; time, load and memory are None where its runtime is emulated.

    Attributes:
        ratio: its time divided by the reference's of the same run, 1 where they differ by no more
            than the measurement can be off; None if their numbers of threads differ.
        memory_mb: peak memory less what the process held before loading.
    """

    size_mb: float | None = None
    median_s: float | None = None
    p90_s: float | None = None
    ratio: float | None = None
    load_s: float | None = None
    memory_mb: float | None = None
    partitions: int | None = None


@dataclass(frozen=True)
class Line:
    """The overview of one bundle on one runtime.

    Attributes:
        name: what the bundle is called in this report; bundles of other folders have other names.
        alone: it is run on no other runtime.
        encoder_l2: the largest relative L2 over the images.
        mask_iou: end to end, of every mask that is not degenerate.
        shown_iou: end to end, of the mask that the export shows with the one PyTorch shows.
        shown_differs: share of cases, end to end, in which those two are seen to differ.
        tradeoff: what it gives up, and whether its encoder is slower than fp32.
        emulated: a figure was left out because this machine emulates the runtime.
    """

    bundle: BundleReport
    name: str
    alone: bool
    encoder: Cost
    decoder: Cost
    encoder_l2: float | None
    mask_iou: Spread | None
    shown_iou: Spread | None
    shown_differs: float | None
    tradeoff: Tradeoff
    emulated: bool

    @property
    def title(self) -> str:
        """Names the bundle and its runtime."""
        return f"{self.name} on {self.bundle.runtime}"

    @property
    def passed(self) -> bool:
        return self.bundle.verdict == "PASS"

    @property
    def total_mb(self) -> float | None:
        sizes = [part.size_mb for part in (self.encoder, self.decoder) if part.size_mb is not None]
        return sum(sizes) if sizes else None


def summarise(report: ReportData) -> list[Line]:
    """Summarise every bundle on every runtime, in the report's order."""
    pairs = zip(report.bundles, tradeoffs(report.bundles), strict=True)
    runtimes = Counter(bundle.path for bundle in report.bundles)
    return [
        _line(bundle, found, report.reference, alone=runtimes[bundle.path] == 1)
        for bundle, found in pairs
    ]


def reference_line(report: ReportData) -> tuple[Cost, Cost] | None:
    """Cost of the reference's encoder and of its decoder; None if nothing was measured."""
    if not report.reference:
        return None
    return (
        _cost("encoder", {}, report.reference, []),
        _cost("decoder", {}, report.reference, []),
    )


def counts(report: ReportData) -> tuple[int, int]:
    """Count the bundles that pass on every runtime they were run on, and all bundles."""
    verdicts: dict[str, bool] = {}
    for bundle in report.bundles:
        verdicts[bundle.path] = verdicts.get(bundle.path, True) and bundle.verdict == "PASS"
    return sum(verdicts.values()), len(verdicts)


def headline(report: ReportData) -> str:
    """Write the verdict as one line."""
    passing, total = counts(report)
    if not total:
        return "No bundle was checked"
    return f"{passing} of {total} {'bundle passes' if total == 1 else 'bundles pass'}"


def demo_note(report: ReportData) -> str:
    """Say that the masks are the demo weights' if they are; otherwise an empty string."""
    names = {bundle.weights for bundle in report.bundles} | {report.weights.get("name")}
    return f"{DEMO_NOTE[0].upper()}{DEMO_NOTE[1:]}." if DEMO in names else ""


def engine_line(bundle: BundleReport) -> str:
    """Write what runs the files, and its oldest version on which such files were right."""
    least = f"; least tested: {bundle.least_tested}" if bundle.least_tested else ""
    return f"{bundle.engine}{least}"


def headroom_line(bundle: BundleReport) -> str:
    """Write where float16 overflows, and the least headroom of files in which it does not.

    Empty if nothing was measured.
    """
    broken = [_overflow(part) for part in bundle.headroom if part.overflowed]
    found = [
        f"{part.component} {figures.bits(op.headroom_bits)} bits at {op.name}"
        for part in bundle.headroom
        if not part.overflowed and (op := part.least) is not None
    ]
    least = [f"Least float16 headroom: {', '.join(found)}."] if found else []
    return " ".join([*broken, *least])


def overflows(bundle: BundleReport) -> bool:
    """Whether an op of a float16 file gave infinity or not-a-number."""
    return any(part.overflowed for part in bundle.headroom)


def _overflow(part: Headroom) -> str:
    first, later = part.overflowed[0], len(part.overflowed) - 1
    text = f"float16 overflows in the {part.component}, first at {first.name} ({first.overflow})"
    if later:
        text += f", then in {later} more {'op' if later == 1 else 'ops'}"
    return f"{text}, on {part.image}."


def weights_line(bundle: BundleReport) -> str:
    """Write the share of the parameters that were found in the files; empty if none were read."""
    read = [part for part in bundle.weight_audits if part.parameters]
    if not read:
        return ""
    found, total = sum(part.accounted for part in read), sum(part.parameters for part in read)
    parts = [f"Weights audited: {figures.whole_percent(found, total)} of the parameters"]
    wrong = sum(len(part.wrong) + len(part.missing) for part in read)
    parts += [f"{wrong} tensors missing or wrong"] if wrong else []
    parts += [f"{part.component} left out" for part in bundle.weight_audits if part.left_out]
    activations = [part for part in bundle.activation_audits if part.total]
    if activations:
        held, all_of_them = (
            sum(n) for n in zip(*((a.held, a.total) for a in activations), strict=True)
        )
        share = figures.whole_percent(held, all_of_them)
        parts.append(f"{share} of the activations' scales held against the calibration's ranges")
        wrong = sum(len(part.wrong) for part in activations)
        parts += [f"{wrong} of them wrong"] if wrong else []
    return f"{', '.join(parts)}."


EMULATED_NOTE = (
    "–: this machine emulates the runtime, so time and memory would say nothing of a device."
)


def _line(
    bundle: BundleReport, tradeoff: Tradeoff, reference: list[Measurement], *, alone: bool
) -> Line:
    end_to_end = [case for case in bundle.cases if case.stage == "end_to_end"]
    errors = spread(metrics.relative_l2 for metrics in bundle.encoder)
    return Line(
        bundle=bundle,
        name=tradeoff.bundle,
        alone=alone,
        encoder=_cost("encoder", bundle.size_bytes, bundle.measurements, reference),
        decoder=_cost("decoder", bundle.size_bytes, bundle.measurements, reference),
        encoder_l2=errors.maximum if errors else None,
        mask_iou=spread(mask.mask_iou for case in end_to_end for mask in case.masks),
        shown_iou=shown_spread(end_to_end),
        shown_differs=shown_differs(end_to_end),
        tradeoff=tradeoff,
        emulated=any(not taken.representative for taken in bundle.measurements),
    )


def _cost(
    component: str,
    sizes: dict[str, int],
    measurements: list[Measurement],
    reference: list[Measurement],
) -> Cost:
    size_mb = sizes[component] / 1e6 if component in sizes else None
    taken = next((m for m in measurements if m.component == component), None)
    if taken is None:
        return Cost(size_mb=size_mb)
    if not taken.representative:
        return Cost(size_mb=size_mb, partitions=taken.delegate_partitions)
    memory = None
    if taken.peak_memory_mb is not None and taken.baseline_memory_mb is not None:
        memory = taken.peak_memory_mb - taken.baseline_memory_mb
    same = next(
        (m for m in reference if m.component == component and m.threads == taken.threads), None
    )
    compared = ratio(taken, same) if same else None
    return Cost(
        size_mb=size_mb,
        median_s=taken.timing.median_s,
        p90_s=taken.timing.p90_s,
        # What lies within the interval of the measurement is no difference.
        ratio=None if compared is None else 1.0 if compared.alike else compared.value,
        load_s=taken.load_s,
        memory_mb=memory,
        partitions=taken.delegate_partitions,
    )
