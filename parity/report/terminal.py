"""The report on a terminal: one table, then the reasons of failures, and the verdict last."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.report import figures
from parity.report.places import Places, places
from parity.report.summary import (
    EMULATED_NOTE,
    Cost,
    Line,
    counts,
    demo_note,
    headline,
    headroom_line,
    overflows,
    reference_line,
    summarise,
    weights_line,
)
from parity.schema import ReportData

WIDE = 132
"""Width of a terminal, in characters, from which the table shows every figure."""


def print_table(report: ReportData, console: Console) -> None:
    """Print the overview of every bundle, the reasons of failures, and the verdict last."""
    lines = summarise(report)
    if lines:
        console.print(_table(report, lines, wide=console.width >= WIDE))
    found = places(report.bundles)
    if found is not None:
        console.print(_places(found))
    for line in lines:
        if not line.passed:
            console.print(_reasons(line))
    for line in lines:
        if line.tradeoff.slower is not None:
            speed = figures.slower(line.tradeoff)
            console.print(Text(f"{line.title}: encoder {speed}", style="red"))
    for line in lines:
        if line.bundle.headroom:
            text = f"{line.title}: {headroom_line(line.bundle)}"
            console.print(Text(text, style="red" if overflows(line.bundle) else "dim"))
    audits: dict[str, list[str]] = {}
    for line in lines:
        if weights_line(line.bundle):
            audits.setdefault(weights_line(line.bundle), []).append(line.title)
    for sentence, titles in audits.items():
        whose = "every bundle" if len(titles) == len(lines) > 1 else ", ".join(titles)
        console.print(Text(f"{whose}: {sentence}", style="dim"))
    if any(line.emulated for line in lines):
        console.print(Text(EMULATED_NOTE, style="dim"))
    for one in report.unusable_images:
        console.print(Text(f"left out {one.image}: {one.reason}", style="yellow"))
    for sentence in report.warnings:
        console.print(Text(f"warning: {sentence}", style="yellow"))
    if demo_note(report):
        console.print(Text(demo_note(report), style="dim"))
    passing, total = counts(report)
    good = report.passed and passing == total
    console.print(Text(headline(report), style="bold green" if good else "bold red"))


COLOURS = {"pass": "green", "fail": "bold red", "refused": "red", "open": "dim", "none": "dim"}


def _places(found: Places) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="where it runs", title_justify="left")
    for column in ("bundle", *found.columns):
        table.add_column(column, overflow="fold")
    for name, cells in found.rows:
        table.add_row(Text(name), *(Text(cell.text, style=COLOURS[cell.kind]) for cell in cells))
    return table


def _table(report: ReportData, lines: list[Line], *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    # Where there is little room, a long name gives way before a figure is cut.
    table.add_column("bundle", overflow="fold", no_wrap=wide)
    table.add_column("verdict", no_wrap=True)
    titles = ["size\nMB", "enc.\nrel. L2", "mask IoU\nworst"]
    human = wide and any(line.tradeoff.human_drop is not None for line in lines)
    titles += ["5th\npct."] if wide else []
    titles += ["mean\ndrop"]
    titles += ["human\ndrop"] if human else []
    titles += ["shown\nworst"] if wide else []
    blank = [""] * len(titles)
    titles += ["enc.\nms", "against\nPyTorch", "parts"] if wide else ["enc.\nms"]
    titles += ["dec.\nms", "against\nPyTorch", "memory\nMB"] if wide else ["dec.\nms"]
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    reference = reference_line(report)
    if reference is not None:
        name: list[Text | str] = [Text("PyTorch", style="dim"), ""]
        table.add_row(*name, *blank, *_costs(*reference, wide=wide), end_section=True)
    for line in lines:
        verdict = Text("PASS", style="green") if line.passed else Text("FAIL", style="bold red")
        cells = [figures.megabytes(line.total_mb), figures.error(line.encoder_l2)]
        masks = line.mask_iou
        cells.append(figures.share(masks.minimum if masks else None))
        if wide:
            cells += [figures.share(masks.p5 if masks else None)]
        cells += [figures.drop(line.tradeoff.drop)]
        cells += [figures.drop(line.tradeoff.human_drop)] if human else []
        shown = line.shown_iou
        cells += [figures.share(shown.minimum if shown else None)] if wide else []
        costs = _costs(line.encoder, line.decoder, line.tradeoff.slower, wide=wide)
        table.add_row(_name(line), verdict, *cells, *costs)
    return table


def _name(line: Line) -> Text:
    """Name of the bundle, a folder a line, with the runtime below it if it is run on several."""
    name = Text(line.name.replace("/", "/\n").replace(" (", "\n("))
    if not line.alone:
        name.append(f"\n  {line.bundle.runtime}", style="dim")
    return name


def _costs(
    encoder: Cost, decoder: Cost, slower: float | None = None, *, wide: bool
) -> list[Text | str]:
    time = Text(figures.milliseconds(encoder.median_s), style="" if slower is None else "red")
    if not wide:
        return [time, figures.milliseconds(decoder.median_s)]
    taken = [part.memory_mb for part in (encoder, decoder) if part.memory_mb is not None]
    memory = figures.megabytes(max(taken, default=None))
    return [
        time,
        _speed(encoder),
        figures.count(encoder.partitions),
        figures.milliseconds(decoder.median_s),
        _speed(decoder),
        memory,
    ]


def _speed(part: Cost) -> str:
    return figures.speed(part.ratio).replace("× ", "×\n")


def _reasons(line: Line) -> Text:
    text = Text()
    text.append("FAIL ", style="bold red")
    text.append(line.title, style="bold")
    for reason in line.bundle.reasons:
        text.append(f"\n     {reason}")
    return text
