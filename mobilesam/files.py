"""Files and folders that are written whole or not at all, and their digests."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilesam.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends well.

    Whatever happens, readers of ``path`` see the old content or the new one, never a part, and no
    temporary file stays behind unless the process is killed.

    Args:
        path: of the file; its folder must exist.

    Yields:
        A path with the same ending, for libraries that tell formats by it.

    Raises:
        OSError: as the file system raises it.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file by :func:`written_whole`; text as UTF-8."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


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


@contextmanager
def renewed_folder(out: Path) -> Iterator[Path]:
    """A new folder instead of the one that is there, and of what killed processes left beside it.

    For one process at a time: the caller holds a lock.
    """
    for old in (out, *out.parent.glob(f".{out.name}.*")):
        if old.is_dir():
            shutil.rmtree(old)
    with new_folder(out) as made:
        yield made


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file; of a folder, over each file's relative path and digest, sorted."""
    if path.is_dir():
        total = hashlib.sha256()
        for child in sorted(p for p in path.rglob("*") if p.is_file()):
            total.update(f"{child.relative_to(path).as_posix()}\0{sha256_of(child)}\n".encode())
        return total.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
