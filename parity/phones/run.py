"""Set up, export, judge and report, one kind of hardware after the other."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from converters.exporting import export
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.emulators import emulator
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.files import write_whole
from mobilesam.runtimes import runner_class
from mobilesam.runtimes.bundle import Bundle
from parity.phones.parts import PARTS, Part
from parity.report import Report
from parity.report.joining import joined
from parity.thresholds import Row, Thresholds

Say = Callable[[str], None]


def check_phones(
    out: Path,
    report: Path,
    *,
    only: Sequence[str] | None = None,
    image_size: int | None = None,
    weights: str = "demo",
    images: Path | None = None,
    force: bool = False,
    progress: bool = True,
    command: str = "",
    say: Say = lambda _: None,
) -> Report:
    """Judge the bundles of :data:`parity.phones.parts.PARTS`, each on its hardware.

    What stands in for hardware is set up first, where this machine lacks it and can have it; a part
    that cannot be set up is left out, and the report says why. Bundles are judged one by one, and
    the report is written anew after each part, so that a run that was stopped goes on where it was:
    a bundle that was judged before, on the same photos by the same limits, is not judged again.

    Args:
        out: folder for the bundles, in a folder for each image size.
        report: folder for the report; what was judged of each bundle lies in its ``parts``.
        only: keys of ``PARTS``; None: all.
        image_size: of all bundles, in pixels; None: each part's own.
        weights: as :func:`mobilesam.load_model` takes them.
        images: folder of photos instead of the built-in ones.
        force: judge again what was judged.
        progress: show progress on the terminal.
        command: the command line that makes the report again.
        say: called with a sentence on each part: what it took, or why it was left out.

    Returns:
        The report of all parts that could be judged.

    Raises:
        InputError: there is no such part, or none of them could be judged.
    """
    unknown = [name for name in only or () if name not in PARTS]
    if unknown:
        raise InputError(f"there is no part '{unknown[0]}', only {', '.join(PARTS)}")
    made: list[Report] = []
    left_out: dict[str, str] = {}
    for name in only or PARTS:
        part = PARTS[name]
        if image_size is not None:
            part = part._replace(image_size=image_size)
        kept = report / "parts" / name
        try:
            judged = _judged(part, name, out, kept, weights, images, force, progress)
        except MissingDependencyError as error:
            left_out[f"{name}, not judged"] = str(error)
            say(f"{name} was left out: {error}")
            continue
        passing = sum(bundle.verdict == "PASS" for bundle in judged.bundles)
        taken = judged.machine[f"{name}, time"]
        say(f"{name}: {passing} of {len(judged.bundles)} pass on {part.hardware}; {taken}")
        made.append(judged)
        _whole(made, left_out, command).save(report)
    if not made:
        raise InputError("no part could be judged: " + "; ".join(left_out.values()))
    whole = _whole(made, left_out, command)
    whole.save(report)
    return whole


def _whole(made: Sequence[Report], left_out: dict[str, str], command: str) -> Report:
    whole = joined(made, command)
    whole.machine |= left_out
    return whole


class _Kept(BaseModel):
    """What was judged of one bundle: of what it depends on, how long it took, and the verdict."""

    key: str
    seconds: float
    report: Report


def _judged(
    part: Part,
    name: str,
    out: Path,
    kept: Path,
    weights: str,
    images: Path | None,
    force: bool,
    progress: bool,
) -> Report:
    """A part's report, of verdicts that are there and new ones, which are kept one by one.

    Raises:
        MissingDependencyError: the part cannot be set up here.
    """
    begun = time.monotonic()
    _set_up(part)
    size = str(part.image_size)
    folder = out / (f"{size}-{name}" if part.options else size)
    bundles = _export(part, folder, weights, progress)
    ready = time.monotonic()
    found: list[_Kept] = []
    for bundle in bundles:
        place = kept / f"{bundle.name}.json"
        key = _key(part, bundle, images)
        verdict = None if force else _read(place, key)
        if verdict is None:
            started = time.monotonic()
            report = part.judge([bundle], images, progress)
            verdict = _Kept(key=key, seconds=time.monotonic() - started, report=report)
            kept.mkdir(parents=True, exist_ok=True)
            write_whole(place, verdict.model_dump_json(indent=2) + "\n")
        found.append(verdict)
    whole = joined([each.report for each in found])
    judging = sum(each.seconds for each in found) / 60
    whole.machine[f"{name}, time"] = (
        f"{judging:.1f} min to judge, {(ready - begun) / 60:.1f} min to set up and export this time"
    )
    return whole


def _set_up(part: Part) -> None:
    """Get what stands in for the hardware, and check that its runtimes are there."""
    if part.emulator is not None:
        module = emulator(part.emulator)
        if module.missing():
            module.set_up()
    for runtime in part.runtimes or ():
        runner_class(runtime).require()


def _export(part: Part, out: Path, weights: str, progress: bool) -> list[Path]:
    """The part's bundles, exported unless they are there already."""
    return [
        made.path
        for target, schemes in part.pairs.items()
        for made in export(
            weights,
            targets=target,
            schemes=schemes,
            out=out,
            image_size=part.image_size,
            options=part.options,
            progress=progress,
        )
    ]


def _key(part: Part, bundle: Path, images: Path | None) -> str:
    """Of what a bundle's verdict depends on."""
    digest = hashlib.sha256(repr((part.hardware, part.runtimes)).encode())
    digest.update((bundle / MANIFEST_NAME).read_bytes())
    digest.update(repr(_limits(part, Bundle(bundle))).encode())
    for photo in sorted(images.iterdir()) if images is not None else ():
        digest.update(f"{photo.name} {photo.stat().st_size}".encode())
    return digest.hexdigest()[:16]


def _limits(part: Part, bundle: Bundle) -> list[Row]:
    """What the file of limits says of a bundle on a part's hardware, and nothing of any other."""
    limits, target = Thresholds(), bundle.manifest.target
    found = []
    for runtime in part.runtimes or bundle.runtimes:
        row = limits.row(target, bundle.manifest.scheme.name, runtime, part.hardware)
        found.append(row)
        if row.own_weights is not None:
            found.append(limits.row(target, row.own_weights, runtime, part.hardware))
    return found


def _read(path: Path, key: str) -> _Kept | None:
    """A bundle's verdict, if it is one on the same photos by the same limits."""
    try:
        found = _Kept.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValidationError):
        return None
    return found if found.key == key else None
