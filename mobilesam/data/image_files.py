"""Folders of images, and text files that name some of them."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from mobilesam.errors import InputError


def require_folder(folder: Path) -> None:
    """Raises InputError: there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")


def image_files(folder: Path) -> list[Path]:
    """Files of a folder that Pillow can open by their extension, sorted.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    require_folder(folder)
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in known)
    if not paths:
        raise InputError(f"{folder} has no image files in it")
    return paths


def read_names(path: Path) -> list[str]:
    """Names from a text file, one a line, each once; what follows a '#' is ignored.

    Raises:
        InputError: it cannot be read, or has no name in it.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
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
