"""A folder with the page and bundles in it, fit for any web host."""

import json
import shutil
from collections.abc import Sequence
from importlib.resources import as_file
from pathlib import Path

from mobilesam.bundle.manifest import MANIFEST_NAME, BundleFolder
from mobilesam.data.sample_photos import PHOTOS, data_folder
from mobilesam.errors import BundleError, MissingDependencyError
from mobilesam.files import new_folder
from mobilesam.web.page import BUILT

RUNTIMES = {"litert": "litert", "onnxruntime": "onnx"}
"""Runtimes whose files a browser can run, and the folder of the page that holds their wasm."""

BUNDLES = "bundles.json"
EXAMPLE = "example.png"

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""With these a page may use threads: it shares memory with no other origin's."""


def write_site(
    bundles: Sequence[BundleFolder],
    page: Path,
    out: Path,
    *,
    lying: Sequence[str] | None = None,
) -> None:
    """Write the page with bundles to a new folder, all or nothing.

    Args:
        bundles: intact ones, in the order in which the page lists them.
        page: the built page.
        out: a folder that is not there yet, or is empty.
        lying: where the bundles lie already, relative to the page; None copies them into it.

    Raises:
        BundleError: no browser runs a bundle's format, or it has another interface than this
            project's, or a file is missing.
        InputError: the folder cannot be used.
    """
    runtimes = [runtime_of(bundle) for bundle in bundles]
    with new_folder(out) as made:
        left_out = {folder for name, folder in RUNTIMES.items() if name not in runtimes}
        shutil.copytree(
            page, made, ignore=shutil.ignore_patterns(BUILT, *left_out), dirs_exist_ok=True
        )
        write_bundles(bundles, made, lying=lying)


def write_bundles(
    bundles: Sequence[BundleFolder], made: Path, *, lying: Sequence[str] | None = None
) -> None:
    """Write what a page shows beside its own files: bundles, their list, a photo, headers.

    Args:
        bundles: intact ones that a browser runs.
        made: the page's folder.
        lying: as of :func:`write_site`.

    Raises:
        BundleError: as of :func:`write_site`.
    """
    made.mkdir(parents=True, exist_ok=True)
    entries = []
    names = distinct_names(bundles)
    for place, (bundle, name) in enumerate(zip(bundles, names, strict=True)):
        runtime, scheme = runtime_of(bundle), bundle.manifest.scheme
        if lying is None:
            _copy_bundle(bundle, made / "bundles" / name, runtime)
        entries.append(
            {
                "name": name,
                "folder": f"bundles/{name}" if lying is None else lying[place],
                "runtime": runtime,
                "target": bundle.manifest.target,
                "scheme": scheme.name,
                "meaning": scheme.meaning,
                "weights": bundle.manifest.weights.name,
                "sizeBytes": bundle.size_bytes(runtime),
            }
        )
    listed = {"bundles": entries, "example": _copy_example(made / EXAMPLE)}
    (made / BUNDLES).write_text(json.dumps(listed, indent=2) + "\n", "utf-8")
    # Netlify and Cloudflare Pages read this file; other hosts are told in their own ways.
    lines = [f"  {name}: {value}" for name, value in HEADERS.items()]
    (made / "_headers").write_text("\n".join(["/*", *lines]) + "\n", "utf-8")


def runtime_of(bundle: BundleFolder) -> str:
    """The runtime that runs a bundle's files in a browser.

    Raises:
        BundleError: there is none, or the bundle has the tensors of SAM's own interface, or a
            float16 embedding.
    """
    if bundle.manifest.interface != "mobilesam":
        raise BundleError(
            f"{bundle.path} has the interface '{bundle.manifest.interface}', which the page does "
            "not ask: export it without --onnx-interface"
        )
    if bundle.manifest.embedding_type != "float32":
        raise BundleError(
            f"{bundle.path} has a {bundle.manifest.embedding_type} embedding, which the page does "
            "not read: export it without --embedding"
        )
    for runtime in bundle.runtimes:
        if runtime in RUNTIMES:
            return runtime
    raise BundleError(
        f"{bundle.path} is a {bundle.manifest.target} bundle, which no browser runs: give bundles "
        "of the targets tflite or onnx"
    )


def distinct_names(bundles: Sequence[BundleFolder]) -> list[str]:
    """Names of the bundles, each once; equal ones are numbered."""
    names: list[str] = []
    for bundle in bundles:
        name, number = bundle.name, 2
        while name in names:
            name, number = f"{bundle.name}-{number}", number + 1
        names.append(name)
    return names


def _copy_bundle(bundle: BundleFolder, folder: Path, runtime: str) -> None:
    """Copy the manifest and the runtime's files."""
    folder.mkdir(parents=True)
    shutil.copyfile(bundle.path / MANIFEST_NAME, folder / MANIFEST_NAME)
    for record in bundle.manifest.files:
        if record.runtime == runtime:
            target = folder / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.file(record.component, runtime), target)


def _copy_example(target: Path) -> bool:
    """Put a sample photo beside the page, where scikit-image is installed; says whether it is."""
    try:
        with as_file(data_folder() / PHOTOS[0].file) as path:
            shutil.copyfile(path, target)
    except (MissingDependencyError, OSError):
        return False
    return True
