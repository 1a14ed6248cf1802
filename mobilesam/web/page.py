"""The built page: made from its sources by npm where that has not been done yet."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from mobilesam.errors import MissingDependencyError
from mobilesam.files import sha256_of, write_whole
from mobilesam.weights.download import cache_folder

SOURCES = ("src", "licences", "build.mjs", "package.json", "package-lock.json")
"""What the page is built from, within its folder."""

BUILT = ".built"
"""In the built page's folder: digest of the sources that it was built from."""

_CLONE = Path(__file__).resolve().parents[2] / "apps" / "web"
_SHIPPED = Path(__file__).resolve().parent / "source"

_failed: dict[str, str] = {}
"""Why the page could not be built in this process, by sources: npm tries for minutes."""

Said = Callable[[str], None]


def source_folder() -> Path:
    """Where the page's sources are: ``apps/web`` of a clone, else what the wheel holds.

    Raises:
        MissingDependencyError: neither is there.
    """
    for folder in (_CLONE, _SHIPPED):
        if (folder / "package.json").is_file():
            return folder
    raise MissingDependencyError(
        "the page's sources are not there: install mobilesam-export again, or use a clone of it"
    )


def built_page(*, say: Said = lambda now: None) -> Path:
    """The folder of the built page; it is built first if it is missing or its sources changed.

    npm fetches the packages that ``package-lock.json`` names, each checked by its digest, and runs
    no script of theirs. In a clone the page lies in ``apps/web/dist``, else in the cache.

    Args:
        say: told what takes a while, before it begins.

    Raises:
        MissingDependencyError: npm is not installed, or could not build.
    """
    source = source_folder()
    place = source if source == _CLONE else cache_folder() / "web"
    page = place / "dist"
    key = _digest(source)
    if _key_of(page) == key:
        return page
    if key in _failed:
        raise MissingDependencyError(_failed[key])
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError(
            "the page is built by npm, which is not installed: install Node.js 20 or newer "
            "(https://nodejs.org; on Debian: apt-get install npm)"
        )
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        if _key_of(page) == key:
            return page
        if place != source:
            _copy(source, place)
        say("Building the page (npm fetches about 180 MB of packages once) ...")
        try:
            _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)
            _run([npm, "run", "--silent", "build"], place)
        except MissingDependencyError as error:
            _failed[key] = str(error)
            raise
        write_whole(page / BUILT, key)
    return page


def _run(command: list[str], place: Path) -> None:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = lines[0].strip() if lines else f"exit status {done.returncode}"
        raise MissingDependencyError(
            f"'npm {' '.join(command[1:])}' failed in {place} ({said}): it needs Node.js 20 or "
            "newer and npm's registry"
        )


def _copy(source: Path, place: Path) -> None:
    for name in SOURCES:
        target = place / name
        if (source / name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source / name, target)
        else:
            shutil.copyfile(source / name, target)


def _key_of(page: Path) -> str:
    stamp = page / BUILT
    return stamp.read_text("utf-8") if stamp.is_file() else ""


def _digest(source: Path) -> str:
    total = hashlib.sha256()
    for name in SOURCES:
        total.update(f"{name}\0{sha256_of(source / name)}\n".encode())
    return total.hexdigest()
