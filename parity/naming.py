"""What a bundle is called beside others: target and scheme, and its folder where that is shared."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Named(NamedTuple):
    """A bundle.

    Attributes:
        name: target and scheme, as in ``onnx-w8``.
        path: its folder; equal for one bundle on several runtimes.
    """

    name: str
    path: str


def distinct_names(bundles: Sequence[Named]) -> list[str]:
    """A name for each bundle that no bundle of another folder has.

    That is its target and scheme where no other has them. Else it is its folder, with as many of
    the folders above it as it takes to tell it from the others, and target and scheme before it
    unless the folder is called after them: ``new/onnx-w8``, or ``onnx-w8 (mine)``.
    """
    names = [_name(bundle, bundles) for bundle in bundles]
    owners: dict[str, set[str]] = {}
    for name, bundle in zip(names, bundles, strict=True):
        owners.setdefault(name, set()).add(bundle.path)
    # A folder may be called after another bundle's target and scheme: then the whole path tells.
    return [
        name if len(owners[name]) == 1 else f"{bundle.name} ({bundle.path})"
        for name, bundle in zip(names, bundles, strict=True)
    ]


def _name(bundle: Named, bundles: Sequence[Named]) -> str:
    namesakes = {other.path for other in bundles if other.name == bundle.name} - {bundle.path}
    if not namesakes:
        return bundle.name
    own, others = _folders(bundle.path), [_folders(path) for path in namesakes]
    depth = next(
        (n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)),
        len(own),
    )
    place = "/".join(own[-depth:])
    named_after = re.search(rf"(?<!\w){re.escape(bundle.name)}(?!\w)", own[-1])
    return place if named_after else f"{bundle.name} ({place})"


def _folders(path: str) -> list[str]:
    """Folders of a path, of whatever system; a path without any, such as ``.``, is one."""
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".")]
    return parts or [path]
