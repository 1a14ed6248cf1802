"""The report as Markdown, for a pull request or a release note."""

from collections.abc import Iterable, Sequence

from parity.metrics import SAME_TO_THE_EYE
from parity.report import figures
from parity.report.aggregate import MaskRow, Spread, prompt_rows
from parity.report.places import places
from parity.report.summary import (
    EMULATED_NOTE,
    Cost,
    Line,
    demo_note,
    engine_line,
    headline,
    headroom_line,
    reference_line,
    summarise,
    weights_line,
)
from parity.schema import ReportData

_OVERVIEW = (
    "bundle",
    "runtime",
    "verdict",
    "size MB",
    "encoder rel. L2",
    "mask IoU worst",
    "5th pct.",
    "mean",
    "drop",
    "drop to human",
    "shown mask IoU worst",
    "mean",
    "differ",
    "encoder ms (p90)",
    "against PyTorch",
    "partitions",
    "decoder ms (p90)",
    "against PyTorch",
    "partitions",
    "load s",
    "memory MB",
)
_PROMPTS = (
    "prompt",
    "stage",
    "cases",
    "mask IoU worst",
    "5th pct.",
    "mean",
    "shown mask IoU worst",
    "mean",
    "differ",
    "boundary IoU worst",
    "mean",
    "logits rel. L2 max",
    "IoU pred. error max",
    "human IoU PyTorch",
    "export",
)


def markdown(report: ReportData) -> str:
    """Write the verdict, the overview, then every bundle's checks and figures by prompt type."""
    lines = summarise(report)
    parts = [f"# {headline(report)}"]
    parts += [f"> Warning: {_escape(sentence)}" for sentence in report.warnings]
    if demo_note(report):
        parts.append(f"> {demo_note(report)}")
    parts.append(
        f"{_escape(report.created)}, mobilesam-export {_escape(report.tool_version)}, "
        f"{len(report.images)} images, {len(report.prompt_types)} prompt types."
    )
    parts.append(_table(_OVERVIEW, _overview(report, lines), left=3))
    parts.append(
        "Sizes are encoder + decoder in megabytes (10^6 bytes); mask IoU is end to end over every "
        "mask that is not degenerate, its drop 1 - the mean; the drop to human is PyTorch's mean "
        "IoU with human-made masks - the export's, over the same cases; shown masks are those "
        "that an app would show, the export's against PyTorch's, and they differ where their IoU "
        f"is below {SAME_TO_THE_EYE}; latency is the median "
        "with the 90th percentile, and how slow beside fp32 where a quantized encoder takes longer "
        "than the fp32 one of the same target and runtime in this run; partitions are those of the "
        "delegate; load time is encoder / decoder; memory is the larger peak over the process's "
        "baseline."
    )
    if any(line.emulated for line in lines):
        parts.append(EMULATED_NOTE)
    parts.extend(_places(report))
    for line in lines:
        parts.extend(_bundle(line))
    parts.append("## This run")
    parts.append(_escape(report.degenerate_rule))
    if report.unusable_images:
        left_out = [
            f"- {_escape(one.image)}: {_escape(one.reason)}" for one in report.unusable_images
        ]
        parts.append("\n".join(["Photos that could not be used:", "", *left_out]))
    facts = {"thresholds": report.thresholds_file, **report.machine}
    parts.append("\n".join(f"- {_escape(key)}: {_escape(value)}" for key, value in facts.items()))
    if report.command:
        parts.append(f"Again with\n\n    {' '.join(report.command.split())}")
    return "\n\n".join(parts) + "\n"


def _places(report: ReportData) -> Iterable[str]:
    found = places(report.bundles)
    if found is None:
        return
    yield "## Where it runs"
    rows = [[name, *(cell.text for cell in cells)] for name, cells in found.rows]
    yield _table(("bundle", *found.columns), rows, left=1 + len(found.columns))
    pairs = zip(found.columns, found.engines, strict=True)
    yield "\n".join(f"- {column}: {_escape(engine)}" for column, engine in pairs if engine)


def _overview(report: ReportData, lines: list[Line]) -> Iterable[list[str]]:
    reference = reference_line(report)
    if reference is not None:
        yield ["PyTorch (reference)", *[""] * 12, *_costs(*reference)]
    for line in lines:
        sizes = [figures.megabytes(part.size_mb) for part in (line.encoder, line.decoder)]
        yield [
            line.name,
            line.bundle.engine,
            line.bundle.verdict,
            " + ".join(sizes),
            figures.error(line.encoder_l2),
            *_spread(line.mask_iou),
            figures.drop(line.tradeoff.drop),
            figures.drop(line.tradeoff.human_drop),
            *_shown(line.shown_iou, line.shown_differs),
            *_costs(line.encoder, line.decoder, line.tradeoff.slower),
        ]


def _costs(encoder: Cost, decoder: Cost, slower: float | None = None) -> list[str]:
    cells = []
    for part, mark in ((encoder, slower), (decoder, None)):
        time = figures.milliseconds(part.median_s)
        if part.p90_s is not None:
            time += f" ({figures.milliseconds(part.p90_s)})"
        if mark is not None:
            time += f", {figures.speed(mark, 'fp32')}"
        cells += [time, figures.speed(part.ratio), figures.count(part.partitions)]
    memory = [part.memory_mb for part in (encoder, decoder) if part.memory_mb is not None]
    return [
        *cells,
        f"{figures.seconds(encoder.load_s)} / {figures.seconds(decoder.load_s)}",
        figures.megabytes(max(memory, default=None)),
    ]


def _bundle(line: Line) -> Iterable[str]:
    bundle = line.bundle
    yield f"## {_escape(line.title)}: {bundle.verdict}"
    yield f"Runtime: {_escape(engine_line(bundle))}"
    if bundle.reasons:
        yield "\n".join(f"- {_escape(reason)}" for reason in bundle.reasons)
    if bundle.checks:
        yield _table(
            ("stage", "check", "value", "asked", "result", "worst"),
            (
                [
                    figures.words(check.stage),
                    figures.metric(check.metric),
                    figures.exact(check.value, check.threshold),
                    f"{figures.SIGNS[check.comparison]} {figures.limit(check.threshold)}",
                    "met" if check.passed else "**MISSED**",
                    check.where,
                ]
                for check in bundle.checks
            ),
            left=2,
        )
    if bundle.notes:
        yield "\n".join(f"- {_escape(note)}" for note in bundle.notes)
    rows = [*prompt_rows(bundle.cases, "decoder"), *prompt_rows(bundle.cases, "end_to_end")]
    if rows:
        yield _table(_PROMPTS, map(_prompt, rows), left=2)
    if weights_line(bundle):
        yield _escape(weights_line(bundle))
    if bundle.headroom:
        yield _escape(headroom_line(bundle))
    if bundle.worst_case:
        yield f"Worst case: {_escape(bundle.worst_case)}"


def _prompt(row: MaskRow) -> list[str]:
    boundary, logits, predicted = row.boundary_iou, row.logit_relative_l2, row.iou_prediction_error
    return [
        figures.words(row.name),
        "decoder alone" if row.stage == "decoder" else figures.words(row.stage),
        str(row.cases),
        *_spread(row.mask_iou),
        *_shown(row.shown_iou, row.shown_differs),
        figures.share(boundary.minimum if boundary else None),
        figures.share(boundary.mean if boundary else None),
        figures.error(logits.maximum if logits else None),
        figures.error(predicted.maximum if predicted else None),
        figures.share(row.human_reference),
        figures.share(row.human_export),
    ]


def _spread(found: Spread | None) -> list[str]:
    if found is None:
        return [figures.MISSING] * 3
    return [figures.share(value) for value in (found.minimum, found.p5, found.mean)]


def _shown(found: Spread | None, differs: float | None) -> list[str]:
    least, mean = (found.minimum, found.mean) if found else (None, None)
    return [figures.share(least), figures.share(mean), figures.percent_lost(differs)]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    """Write a table whose first ``left`` columns are words, and whose others are numbers."""
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    # What the code writes itself may be bold; everything else is escaped.
    body = [[cell if cell == "**MISSED**" else _escape(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *body))


def _escape(text: object) -> str:
    flat = " ".join(str(text).split())
    for mark in "\\`*_[]<>|#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
