"""`mobilesam inspect`: what is in a bundle, and is it what was exported?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam_cli.options import Json, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

    from mobilesam.bundle.manifest import Manifest
    from mobilesam.runtimes.bundle import Bundle

FAILED = 1


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", show_default=False)],
    delegates: Annotated[
        bool,
        typer.Option(
            "--delegates",
            help="Also say which ops stay outside XNNPACK, LiteRT's GPU, Qualcomm's HTP and the "
            "Apple Neural Engine, and why.",
        ),
    ] = False,
    golden: Annotated[
        Path | None,
        typer.Option(
            help="Folder of golden masks, as in a release: also draw them with the bundle's files.",
            show_default="draw none",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a bundle's tensors, scheme, files and provenance, and verify its digests.

    Exit status 1 where a golden mask is not drawn as it should be.
    """
    from mobilesam.runtimes.bundle import Bundle

    opened = Bundle(bundle)
    if as_json:
        opened.verify()
        described = opened.manifest.model_dump(mode="json")
        if delegates:
            from parity.delegates import ask_delegates

            described["delegates"] = [answer.as_dict() for answer in ask_delegates(opened)]
        right = True
        if golden is not None:
            from parity.golden_masks import compare_masks

            compared = compare_masks(opened, golden)
            described["golden"] = [{**each._asdict(), "passed": each.passed} for each in compared]
            right = all(each.passed for each in compared)
        print_json(described)
        if not right:
            raise typer.Exit(FAILED)
        return
    from rich.console import Console

    console = Console()
    _print_facts(console, opened.manifest)
    _print_tensors(console, opened.manifest)
    _print_files(console, opened)
    opened.verify()
    if delegates:
        _print_delegates(console, opened)
    if golden is not None and not _print_golden(opened, golden):
        raise typer.Exit(FAILED)


def _print_golden(bundle: "Bundle", folder: Path) -> bool:
    """Say how the bundle draws the golden masks; returns whether all are near enough."""
    from parity.golden_masks import compare_masks

    compared = compare_masks(bundle, folder)
    wrong = [each for each in compared if not each.passed]
    for each in wrong:
        say(
            "wrong",
            f"{each.case}, mask {each.mask}: IoU {each.iou:.4f} with PyTorch's, at least "
            f"{each.limit} is right",
        )
    least = min(each.iou for each in compared)
    typer.echo(
        f"golden masks: {len(compared) - len(wrong)} of {len(compared)} as PyTorch draws them, "
        f"least IoU {least:.4f}"
    )
    return not wrong


def _print_facts(console: "Console", manifest: "Manifest") -> None:
    from rich.table import Table
    from rich.text import Text

    weights = manifest.weights
    facts = {
        "target": manifest.target,
        "scheme": f"{manifest.scheme.name}: {manifest.scheme.meaning}",
        "variant": manifest.variant,
        "image size": str(manifest.image_size),
        "input": _input(manifest),
        "point slots": str(manifest.slots),
        "masks": _masks(manifest),
        "weights": f"{weights.name} ({weights.description})",
        "weights from": weights.source,
        "weights SHA-256": weights.sha256,
        "licence": f"{manifest.licence}; weights: {weights.licence}",
        "calibration": _pairs(manifest.calibration or {}) or "none",
        "options": _pairs(manifest.options) or "none",
        "least tested runtime": _runtimes(manifest.least_tested),
        "tools": _pairs(manifest.tools),
        "contract": manifest.contract_version,
    }
    title = Text(f"{manifest.target}-{manifest.scheme.name}")
    table = Table(title=title, title_justify="left")
    table.add_column("fact", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    console.print(table)


def _input(manifest: "Manifest") -> str:
    """The input variant, and what an app lays into its buffer where that is bytes."""
    if manifest.input_variant != "uint8":
        return manifest.input_variant
    order = manifest.channel_order.upper()
    if manifest.photo_size is not None:
        height, width = manifest.photo_size
        return (
            f"uint8, {order}, rows of pixels (NHWC), photos of {width} x {height} as they are; the "
            "graph scales, normalises and pads"
        )
    return f"uint8, {order}, rows of pixels (NHWC), 0 to 255; the graph normalises and pads"


def _masks(manifest: "Manifest") -> str:
    """Who chooses the mask and scales it."""
    if manifest.interface == "sam":
        return "one, chosen by the graph, logits at the photo's size"
    if manifest.masks == "full":
        return f"one, chosen by the graph, {manifest.image_size} x {manifest.image_size}, 0 or 255"
    return "four, logits, of which the app chooses one"


def _runtimes(least_tested: dict[str, str]) -> str:
    stated = ", ".join(f"{name}: {version}" for name, version in least_tested.items())
    return stated or "not stated by this bundle: export it again"


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _print_tensors(console: "Console", manifest: "Manifest") -> None:
    from rich.table import Table
    from rich.text import Text

    for component, signature in manifest.signatures.items():
        title = Text(f"{component}, signature '{signature.name}'")
        table = Table(title=title, title_justify="left")
        for column in ("", "tensor", "shape", "dtype", "meaning"):
            table.add_column(column, overflow="fold")
        for way, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            for tensor in tensors:
                sides = tensor.shapes[-1]
                shape = " x ".join("any" if side is None else str(side) for side in sides)
                cells = (way, tensor.name, shape, tensor.dtype, tensor.meaning)
                table.add_row(*map(Text, cells))
        console.print(table)


def _print_files(console: "Console", bundle: "Bundle") -> None:
    from rich.table import Table
    from rich.text import Text

    from mobilesam.files import sha256_of

    table = Table(title="files", title_justify="left")
    for column in ("file", "component", "runtime", "MB", "SHA-256", "digest"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for record in bundle.manifest.files:
        path = bundle.path / record.path
        state = "[red]missing[/]"
        if path.exists():
            state = "verified" if sha256_of(path) == record.sha256 else "[red]differs[/]"
        runtime = f"{record.runtime} ({record.note})" if record.note else record.runtime
        size = f"{record.size_bytes / 1e6:.2f}"
        cells = (record.path, record.component, runtime, size, f"{record.sha256[:12]}…")
        table.add_row(*map(Text, cells), state)
    console.print(table)


def _print_delegates(console: "Console", bundle: "Bundle") -> None:
    """What each delegate takes of each file, and below what stays outside and how that is known."""
    from rich.markup import escape
    from rich.table import Table

    from parity.delegates import ask_delegates
    from parity.delegates.records import reasons

    colours = {
        "whole": "green",
        "partly": "yellow",
        "none": "red",
        "refused": "red",
        "unknown": "dim",
    }
    table = Table(title="what each delegate takes", title_justify="left")
    for column in ("delegate", "component", "verdict", "ops", "pieces"):
        table.add_column(column, overflow="fold")
    why: dict[tuple[str, str], list[str]] = {}
    with console.status("asking the delegates"):
        for answer in ask_delegates(bundle):
            found = answer.found
            table.add_row(
                answer.delegate,
                answer.component,
                f"[{colours.get(found.verdict, 'red')}]{found.verdict}[/]",
                "–" if found.taken is None else f"{found.taken} of {found.total}",
                "–" if found.partitions is None else str(found.partitions),
            )
            said = "; ".join(text for text in (reasons(found.outside), found.note) if text)
            key = answer.delegate, f"{said or 'nothing stays outside'} – {found.how}"
            why.setdefault(key, []).append(answer.component)
    console.print(table)
    # What is said of both components is said once.
    for (delegate, said), components in why.items():
        console.print(
            f"[bold]{delegate}[/], {' and '.join(components)}: {escape(said)}", highlight=False
        )
