"""The bundles that a user named, opened."""

from collections.abc import Sequence
from pathlib import Path

from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes.bundle import Bundle

BundleSource = str | Path | Bundle
"""A bundle, its folder, or a folder that holds folders of bundles."""


def open_bundles(given: BundleSource | Sequence[BundleSource]) -> list[Bundle]:
    """Every bundle that is named, or lies in a folder that is named, each once, in order.

    Args:
        given: one or several.

    Raises:
        BundleError: none was given, one is no bundle and holds none, has a malformed manifest, or
            lacks a file.
    """
    sources = [given] if isinstance(given, str | Path | Bundle) else given
    found: dict[Path, Bundle] = {}
    for source in sources:
        for bundle in [source] if isinstance(source, Bundle) else _inside(Path(source)):
            found.setdefault(bundle.path.resolve(), bundle)
    if not found:
        raise BundleError("no bundle was given: name the folder of at least one")
    for bundle in found.values():
        bundle.require_files()
    return list(found.values())


def require_own_interface(bundle: Bundle, why: str) -> None:
    """Check that a bundle has this project's own tensors, four masks among them.

    Args:
        why: what cannot be done with one of another interface, as the end of a sentence.

    Raises:
        InputError: it has others.
    """
    interface = bundle.manifest.interface
    if interface != "mobilesam":
        raise InputError(
            f"{bundle.path} has the interface '{interface}', and {why}: export the same weights "
            "and scheme with the interface 'mobilesam', whose network is the same"
        )
    if bundle.manifest.masks != "low_res":
        raise InputError(
            f"{bundle.path} gives one mask that its graph has chosen, and {why}: export the same "
            "weights and scheme without --masks full, the network is the same"
        )


def require_any_photo(bundle: Bundle, why: str) -> None:
    """Check that a bundle's encoder takes photos of any size.

    Args:
        why: as of :func:`require_own_interface`.

    Raises:
        InputError: it scales photos of one size itself.
    """
    if bundle.manifest.photo_size is not None:
        height, width = bundle.manifest.photo_size
        raise InputError(
            f"{bundle.path} takes photos of {width} x {height} pixels only, and {why}: export the "
            "same weights and scheme without --resize, the network is the same"
        )


def _inside(path: Path) -> list[Bundle]:
    if (path / MANIFEST_NAME).is_file() or not path.is_dir():
        return [Bundle(path)]
    folders = sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST_NAME}"))
    bundles = [Bundle(folder) for folder in folders if not folder.name.startswith(".")]
    if not bundles:
        raise BundleError(
            f"'{path}' is not a bundle and holds none: give a folder that 'mobilesam export' wrote"
        )
    return bundles
