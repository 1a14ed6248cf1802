"""Folders of images, and text files that name some of them."""

from collections.abc import Container, Iterable
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


def require_known(names: Iterable[str], known: Container[str], source: Path) -> None:
    """Check that every name read from ``source`` is that of an image.

    Raises:
        InputError: one is not; a name misspelt would otherwise be passed over in silence.
    """
    for name in names:
        if name not in known:
            raise InputError(f"{source} names '{name}', which is not among the images")
