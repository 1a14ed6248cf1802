"""Folders that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilesam.errors import InputError


def require_new(out: Path) -> None:
    """Check that a folder is not there yet, or is empty.

    Raises:
        InputError: there is something in it, or it is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"'{out}' is not empty: give a folder that is not there yet")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder that becomes ``out`` when the block ends well, and else vanishes.

    Raises:
        InputError: as :func:`require_new`.
    """
    require_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        made = Path(scratch) / out.name
        made.mkdir()
        yield made
        if out.exists():
            out.rmdir()
        made.rename(out)
