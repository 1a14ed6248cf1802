"""Paths in a manifest: files inside the bundle's own folder, on every system."""

import re
from pathlib import Path

from mobilesam.errors import BundleError


def path_problem(path: str) -> str:
    """Why a manifest's path cannot be that of a file in its folder; empty if it can.

    A path has forward slashes and is relative, and no part of it leaves the folder, on Windows
    too, whose drives and backslashes are nothing special elsewhere.
    """
    if not path:
        return "is empty"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "has a control character"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "leaves the folder by '..'"
    if "." in parts or "" in parts:
        return "has an empty part or '.'"
    return ""


def require_inside(folder: Path, path: str) -> Path:
    """The path of a file or folder in a bundle, or of one that is missing there.

    A symbolic link in its place is followed: stores of large files, such as the caches of Hugging
    Face and DVC, keep folders of links, and the digests tell whether the right file is behind one.

    Args:
        folder: of the bundle.
        path: as the manifest has it.

    Raises:
        BundleError: the path leads out of the folder.
    """
    problem = path_problem(path)
    if problem:
        raise BundleError(
            f"the file path {path!r} of {folder} {problem}: a bundle's files lie in its own "
            "folder, export the bundle again"
        )
    return folder / path
