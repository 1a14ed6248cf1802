"""`mobilesam doctor`: what works here, and how to get the rest."""

from typing import TYPE_CHECKING

from mobilesam_cli.options import Json, print_json

if TYPE_CHECKING:
    from mobilesam.doctor import Environment


def doctor(as_json: Json = False) -> None:
    """Show which converters and runtimes this environment has, and how to get the rest."""
    from mobilesam.doctor import examine

    found = examine()
    if as_json:
        print_json(found.as_dict())
        return
    _print(found)


def _print(found: "Environment") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=f"mobilesam-export {found.version}", title_justify="left")
    for column in ("feature", "package", "for", "installed", "tested", "state"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "untested version": "yellow", "missing": "red"}
    for feature in found.features:
        for position, package in enumerate(feature.packages):
            table.add_row(
                feature.name if position == 0 else "",
                package.name,
                package.role,
                package.installed or "–",
                package.tested,
                f"[{colours[package.state]}]{package.state}[/]",
                end_section=package is feature.packages[-1],
            )
    console.print(table)
    console.print(f"Python {found.python} on {found.system}, {found.cpus} CPU threads")
    console.print(f"Core ML files run through: {found.coreml_engine}")
    weights = found.official_weights or "not downloaded yet"
    cached = f"cache: {found.cache}; official weights: {weights}"
    console.print(cached, soft_wrap=True, markup=False)
    for stand_in in found.stand_ins:
        state = f"not set up: {stand_in.missing}" if stand_in.missing else "set up"
        console.print(f"{stand_in.stands_for}: {state}", soft_wrap=True, markup=False)
    incomplete = [feature for feature in found.features if not feature.usable]
    for feature in incomplete:
        console.print(f"to get {feature.name}: {escape(feature.install)}", soft_wrap=True)
    if not incomplete:
        console.print("every converter and runtime is installed")
