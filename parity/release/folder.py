"""A release's folder, written whole: bundles, digests, report, golden masks, page, card, code."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from mobilesam.apps import android_page, ios_page, python_page, web_page
from mobilesam.apps.layout import Listed, listed
from mobilesam.apps.new_app import copy_bundle
from mobilesam.apps.sources import app_files
from mobilesam.errors import BundleError, InputError
from mobilesam.files import new_folder, require_new, sha256_of
from mobilesam.runtimes.bundle import Bundle
from mobilesam.validation import first_problem
from mobilesam.web.page import built_page
from mobilesam.web.site import runtime_of, write_site
from mobilesam.weights.demo import DEMO, DEMO_FILE
from parity.bundles import BundleSource, open_bundles
from parity.cases import default_photos
from parity.comparison import compare
from parity.golden_masks import write_masks
from parity.origin import Origin
from parity.release.card import card
from parity.report import FILES, Report
from parity.report.html import require_page

SUMS = "SHA256SUMS"
"""Every other file of the release, as ``sha256sum -c`` reads it."""

BUNDLES, GOLDEN, REPORT, PAGE, CODE = "bundles", "golden", "report", "web", "code"


def write_release(
    bundles: BundleSource | Sequence[BundleSource],
    out: Path,
    *,
    report: Path | None = None,
    images: Path | None = None,
    weights: str | None = None,
    measure: bool = True,
    allow_failed: bool = False,
    overwrite: bool = False,
    page: bool = True,
    progress: bool = True,
    say: Callable[[str], None] = lambda now: None,
) -> list[str]:
    """Write a folder fit for a release, all or nothing.

    Args:
        bundles: as of :func:`parity.compare`.
        out: the folder; new or empty, or an earlier release with ``overwrite``.
        report: ``report.json`` of these very bundles; None: they are judged now.
        images: folder of photos for judging now; None: the built-in ones.
        weights: of the PyTorch model; None takes what each manifest names.
        measure: of a run now: also take latency and memory.
        allow_failed: release bundles too whose verdict is FAIL; the card says which.
        overwrite: replace an earlier release.
        page: also write the page of ``mobilesam web``, where a browser runs one of the bundles.
        progress: show the judging's progress on the terminal.
        say: told what takes a while, before it begins.

    Returns:
        The bundles' names in the release.

    Raises:
        BundleError: a bundle is none, or a file was altered.
        CheckpointError: the weights cannot be loaded.
        InputError: the folder is not empty, the report is not of these bundles, or one FAILED.
        MissingDependencyError: what makes the report or the page is not installed.
    """
    require_page()
    found = open_bundles(bundles)
    for bundle in found:
        bundle.verify()
    _require_room(out, overwrite)
    released = listed(found, BUNDLES)
    if report is None:
        judged = compare(found, images=images, weights=weights, measure=measure, progress=progress)
    else:
        judged = read_report(report)
    own = _of_these(judged, released, allow_failed)
    shown = [each for each in released if _in_browser(each)]
    built = built_page(say=say) if page and shown else None
    with _replaced(out, overwrite) as made:
        for each in released:
            copy_bundle(each.bundle, made / each.folder)
        own.save(made / REPORT)
        say("Drawing the golden masks ...")
        golden = _golden(found, released, weights, made)
        if built is not None:
            places = [f"../{each.folder}" for each in shown]
            write_site([each.bundle for each in shown], built, made / PAGE, lying=places)
        _write_code(made, released, with_page=built is not None)
        _write_weights(made, released)
        text = card(released, own, golden, with_page=built is not None)
        (made / "README.md").write_text(text, "utf-8")
        _write_sums(made)
    return [each.name for each in released]


def read_report(path: Path) -> Report:
    """A report that was written before.

    Args:
        path: ``report.json``, or the folder that it lies in.

    Raises:
        InputError: there is none, or it is malformed.
    """
    file = path / FILES["json"] if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"'{file}' cannot be read: give the {FILES['json']} that 'mobilesam parity --report' "
            "wrote"
        ) from None
    except ValidationError as error:
        where, said = first_problem(error)
        raise InputError(
            f"'{file}' is not a report of 'mobilesam parity' (at '{where}': {said})"
        ) from None


def _of_these(judged: Report, released: Sequence[Listed], allow_failed: bool) -> Report:
    """What the report says of the bundles, with their places in the release.

    Raises:
        InputError: a bundle was not judged as it is now, or FAILED.
    """
    kept = []
    for each in released:
        digest = each.bundle.manifest_sha256
        own = [line for line in judged.bundles if line.manifest_sha256 == digest]
        if not own:
            raise InputError(
                f"the report is not of {each.bundle.path} as it is now (no bundle in it has that "
                "manifest): judge it again with 'mobilesam parity --report', or leave out --report"
            )
        failed = [line for line in own if line.verdict == "FAIL"]
        if failed and not allow_failed:
            reason = failed[0].reasons[0] if failed[0].reasons else "no reason is stated"
            raise InputError(
                f"{each.bundle.path} FAILED on {failed[0].runtime} ({reason}): export it again, or "
                "release it all the same with --allow-failed"
            )
        kept += [line.model_copy(update={"path": each.folder}) for line in own]
    # How it was run names this machine's folders; in the release this command runs it again.
    again = f"mobilesam parity {BUNDLES}"
    limits = judged.thresholds_file
    if Path(limits).is_absolute():
        limits = Path(limits).name
    changed = {"bundles": kept, "command": again, "thresholds_file": limits}
    return judged.model_copy(update=changed)


def _golden(
    found: Sequence[Bundle], released: Sequence[Listed], weights: str | None, made: Path
) -> dict[str, str]:
    """Write the golden masks, once for all bundles of the same weights; their folders by name."""
    folders: dict[str, str] = {}
    for bundle, each in zip(found, released, strict=True):
        manifest = bundle.manifest
        digest = manifest.weights.sha256
        place = f"{GOLDEN}/{manifest.variant}-{manifest.image_size}-{digest[:8]}"
        if not (made / place).exists():
            model = Origin.of(bundle, weights).load()
            if model.weights is None or model.weights.sha256 != digest:
                raise InputError(
                    f"the weights are not those that {bundle.path} was exported from: give that "
                    "checkpoint with --weights"
                )
            write_masks(model, default_photos()[0], made / place)
        folders[each.name] = place
    return folders


def _in_browser(each: Listed) -> bool:
    try:
        runtime_of(each.bundle)
    except BundleError:
        return False
    return True


def _write_code(made: Path, released: Sequence[Listed], *, with_page: bool) -> None:
    pages = {
        "android": android_page.page(released),
        "ios": ios_page.page(released),
        "web": web_page.page(released, with_page=with_page),
        "python": python_page.page(released),
    }
    for name, text in pages.items():
        (made / f"{name}.md").write_text(text, "utf-8")
    (made / CODE).mkdir()
    shutil.copyfile(app_files("web")["src"] / "mobilesam.ts", made / CODE / "mobilesam.ts")


def _write_weights(made: Path, released: Sequence[Listed]) -> None:
    """The licence, and of the demo weights their card and what they were trained on."""
    manifests = [each.bundle.manifest for each in released]
    if {m.licence for m in manifests} | {m.weights.licence for m in manifests} == {"Apache-2.0"}:
        shutil.copyfile(app_files("web")["licences"] / "Apache-2.0.txt", made / "LICENSE")
    if any(manifest.weights.name == DEMO for manifest in manifests):
        (made / "weights").mkdir()
        for name in ("README.md", "ATTRIBUTION.md"):
            text = (DEMO_FILE.parent / name).read_text("utf-8")
            # What lies elsewhere in the repository is not in the release: its words stay.
            text = re.sub(r"!\[[^\]]*\]\(\.\./[^)]*\)\n?", "", text)
            text = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text)
            (made / "weights" / name).write_text(text, "utf-8")


def _write_sums(made: Path) -> None:
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    lines = [f"{sha256_of(made / name)}  {name}\n" for name in files]
    (made / SUMS).write_text("".join(lines), "utf-8")


def _require_room(out: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            require_new(out)
        except InputError as error:
            raise InputError(f"{error}, or replace an earlier release with --overwrite") from None
    elif not (out / SUMS).is_file():
        try:
            require_new(out)
        except InputError:
            raise InputError(
                f"'{out}' is not a release (it has no {SUMS}), and is not overwritten: give "
                "another folder"
            ) from None


@contextmanager
def _replaced(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder that takes the place of ``out`` when the block ends well, else vanishes."""
    if not (overwrite and out.exists()):
        with new_folder(out) as made:
            yield made
        return
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        yield made
        out.rename(Path(scratch) / "old")
        made.rename(out)
