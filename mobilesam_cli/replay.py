"""`mobilesam replay`: prepare here, run on another machine, judge here."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.errors import InputError
from mobilesam_cli.options import (
    COMMAND_LINE,
    Bundles,
    Json,
    MaxPixels,
    Photos,
    Quiet,
    ReferenceWeights,
    ReportFolder,
    SkipUnusable,
    Threads,
    ThresholdsFile,
    WeightsKey,
    keyed,
    listed,
    require_inputs,
    require_writable_folder,
    say,
    say_left_out,
)
from mobilesam_cli.parity import finish

replay = typer.Typer(
    name="replay",
    help="Run bundles on a machine that has only their runtime, and judge the answers here.",
    no_args_is_help=True,
)


@replay.command()
def pack(
    context: typer.Context,
    bundles: Bundles,
    out: Annotated[Path, typer.Option(help="The replay folder to write.", show_default=False)],
    images: Photos = None,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief", help="Only one photo and a prompt of each kind: of use on --arm64."
        ),
    ] = False,
    weights: ReferenceWeights = None,
    weights_key: WeightsKey = None,
    max_pixels: MaxPixels = None,
    skip_unusable: SkipUnusable = False,
    quiet: Quiet = False,
) -> None:
    """Write a folder with bundles, inputs, PyTorch's answers and run.py."""
    require_inputs(images=images)
    require_writable_folder(out)

    from parity.replay.pack import pack as write_pack

    packed = write_pack(
        bundles,
        out,
        images=images,
        brief=brief,
        weights=keyed(weights, weights_key),
        skip_unusable=skip_unusable,
        progress=not quiet,
        command=context.meta[COMMAND_LINE],
    )
    from parity.photos import is_strip

    own = [photo.name for photo in packed.index.photos if not is_strip(photo.name)]
    say_left_out(packed.index.unusable_images, len(own))
    for kind, size in packed.size_bytes.items():
        typer.echo(f"{size / 1e6:8.1f} MB  {kind}")
    cases = sum(len(photo.cases) for photo in packed.index.photos)
    typer.echo(
        f"{sum(packed.size_bytes.values()) / 1e6:8.1f} MB  {packed.folder}: "
        f"{', '.join(bundle.name for bundle in packed.index.bundles)}; "
        f"{len(packed.index.photos)} photos, {cases} cases"
    )


@replay.command()
def run(
    folder: Annotated[Path, typer.Argument(help="The replay folder.", show_default=False)],
    compute_units: Annotated[
        list[str] | None,
        typer.Option(
            help="What Core ML may use: all, cpu_only, cpu_and_gpu, cpu_and_ne; a result for each "
            "of several, separated by commas.",
            show_default="all",
        ),
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="Only these bundles, separated by commas.", show_default="all"),
    ] = None,
    threads: Threads = None,
    python: Annotated[
        Path | None,
        typer.Option(help="Python that has numpy and the runtime.", show_default="this one"),
    ] = None,
    arm64: Annotated[
        bool, typer.Option("--arm64", help="Run it on an emulated ARM core, set up when missing.")
    ] = False,
    cpu: Annotated[
        str | None,
        typer.Option(
            help="Of --arm64: cortex-a53, cortex-a76 or neoverse-v1.", show_default="cortex-a76"
        ),
    ] = None,
) -> None:
    """Run the folder's run.py: the same as `python FOLDER/run.py` on any machine."""
    if arm64:
        if python is not None or compute_units:
            raise InputError(
                "--arm64 has a Python of its own and no Core ML: leave out --python "
                "and --compute-units"
            )
        from mobilesam.emulators.arm64 import DEFAULT_CPU
        from parity.replay.emulated import run_on_arm64

        status = run_on_arm64(
            folder,
            cpu=cpu or DEFAULT_CPU,
            bundles=listed(bundle),
            threads=threads,
            say=partial(say, "note"),
        )
        raise typer.Exit(status)
    if cpu is not None:
        raise InputError("--cpu names the core that --arm64 emulates: add --arm64")

    from parity.replay.start import run_folder

    status = run_folder(
        folder,
        compute_units=listed(compute_units),
        bundles=listed(bundle),
        threads=threads,
        python=python,
    )
    raise typer.Exit(status)


@replay.command()
def merge(
    context: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="The replay folder, and copies of it with further results.", show_default=False
        ),
    ],
    report: ReportFolder = None,
    thresholds: ThresholdsFile = None,
    as_json: Json = False,
) -> None:
    """Judge what run.py answered: one report, with the exit status of `mobilesam parity`."""
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"'{folder}' is not a folder: name a replay folder")
    require_inputs(thresholds=thresholds)
    if report is not None:
        require_writable_folder(report)

    from parity.replay.merge import merge as judge_results

    result = judge_results(
        folders,
        thresholds=thresholds,
        progress=not as_json,
        command=context.meta[COMMAND_LINE],
    )
    unrun = result.machine.get("not run anywhere")
    if unrun:
        say("note", f"no results for {unrun}")
    finish(result, report, as_json=as_json)
