"""Folders of images, and text files that name some of them."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from mobilesam.errors import InputError
from mobilesam.inference.images import HEIF_SUFFIXES, reads_heif

_LOG = logging.getLogger(__name__)
_SIDE_FILES = ("manifest.json", "thumbs.db", "desktop.ini")
_FEW = 5  # files named in a note before "and N more"


def require_folder(folder: Path) -> None:
    """Raises InputError: there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")


def image_files(folder: Path, *, readable: bool = False) -> list[Path]:
    """Photos of a folder, by their extension, sorted; what else lies there is logged.

    HEIC photos are among them even where they cannot be read, and so are links to photos that are
    gone, so that a run says so. Folders and hidden files named as photos are none, and are logged.

    Args:
        folder: of photos.
        readable: leave out, and log, files that Pillow cannot open; they are not decoded.

    Raises:
        InputError: there is no such folder, or no such image in it.
    """
    require_folder(folder)
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    known |= set(HEIF_SUFFIXES)
    entries = sorted(p for p in folder.iterdir() if p.name.lower() not in _SIDE_FILES)
    photos = {path for path in entries if path.suffix.lower() in known}
    hidden = {path for path in entries if path.name.startswith(".")}
    paths = sorted(p for p in photos - hidden if p.is_file() or not p.exists())
    files = [p for p in entries if p in photos or (p.is_file() and p not in hidden)]
    if readable:
        heif = reads_heif()
        paths = [path for path in paths if _opens(path, heif=heif)]
    taken = set(paths)
    others = [path.name for path in files if path not in taken]
    if not paths:
        which = f": {_some(others)} cannot be read" if others and readable else ""
        raise InputError(f"{folder} has no image files in it{which}{_about_heif(others)}")
    if others:
        _LOG.warning(
            "left out %d of %d files in '%s', which are no photos that can be read: %s%s",
            len(others), len(files), folder, _some(others), _about_heif(others) if readable else "",
        )  # fmt: skip
    return paths


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _about_heif(names: list[str]) -> str:
    if not any(name.lower().endswith(HEIF_SUFFIXES) for name in names) or reads_heif():
        return ""
    return '; HEIC photos need pillow-heif: pip install "mobilesam-export[heif]"'


def _opens(path: Path, *, heif: bool) -> bool:
    """Whether Pillow recognises a file; one that is too large is for whoever reads it to refuse."""
    if path.suffix.lower() in HEIF_SUFFIXES and not heif:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path):
                return True
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return True
    except Exception:  # a parser may fail in any way on a damaged header
        return False


def read_names(path: Path) -> list[str]:
    """Names from a text file, one a line, each once; what follows a '#' is ignored.

    Raises:
        InputError: it cannot be read, or has no name in it.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list of names {path} cannot be read ({error})") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise InputError(f"{path} has no names in it: write one image file a line")
    return list(dict.fromkeys(names))


def named(files: Iterable[str], names: Iterable[str], source: Path) -> set[str]:
    """The files that are named, in full or by their last part.

    Args:
        files: of images, as a manifest or a COCO file has them.
        names: read from ``source``.
        source: where the names are from, for the error.

    Raises:
        InputError: a name of no file; misspelt, it would otherwise be passed over in silence.
    """
    known: dict[str, set[str]] = {}
    for file in files:
        for name in (file, Path(file).name):
            known.setdefault(name, set()).add(file)
    found: set[str] = set()
    for name in names:
        if name not in known:
            raise InputError(f"{source} names '{name}', which is not among the images")
        found |= known[name]
    return found
