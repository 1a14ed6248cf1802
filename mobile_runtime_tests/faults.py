"""Faults put into exported files, byte for byte, with the manifest made to agree.

A converter writes most weights as they are or transposed, in float32 or float16, so that a
parameter can be found in any format by its bytes and replaced by others of the same length.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.bundle.manifest import MANIFEST_NAME, size_on_disk
from mobilesam.files import sha256_of

Weights = dict[str, np.ndarray]
Fault = Callable[[Weights], Weights]

NECK = "image_encoder.neck.3"
MLP = "image_encoder.layers.2.blocks.2.mlp.fc1.weight"
IOU_HEAD = "mask_decoder.iou_prediction_head.layers.2"
HYPER = "mask_decoder.output_hypernetworks_mlps"


def flipped_signs(weights: Weights) -> Weights:
    """Every tenth row of one layer of the encoder has its signs flipped."""
    changed = weights[MLP].copy()
    changed[::10] *= -1
    return {MLP: changed}


def zeroed_layer(weights: Weights) -> Weights:
    """One layer of the encoder gives zeros."""
    return {MLP: np.zeros_like(weights[MLP])}


def constant_embedding(weights: Weights) -> Weights:
    """The encoder's last norm has neither scale nor bias: every image embeds to zeros."""
    return {f"{NECK}.{part}": np.zeros_like(weights[f"{NECK}.{part}"]) for part in _PARTS}


def flipped_decoder_signs(weights: Weights) -> Weights:
    """Every tenth row of an attention layer of the decoder has its signs flipped."""
    name = "mask_decoder.transformer.layers.1.mlp.lin2.weight"
    changed = weights[name].copy()
    changed[::10] *= -1
    return {name: changed}


def permuted_masks(weights: Weights) -> Weights:
    """Masks 1 and 2 change places."""
    pairs: Weights = {}
    for layer in range(3):
        for part in _PARTS:
            one, two = (f"{HYPER}.{mask}.layers.{layer}.{part}" for mask in (1, 2))
            pairs |= {one: weights[two], two: weights[one]}
    return pairs


def wrong_iou_head(weights: Weights) -> Weights:
    """The IoU head's last layer has its signs flipped."""
    return {f"{IOU_HEAD}.weight": -weights[f"{IOU_HEAD}.weight"]}


def nan_in_one_mask(weights: Weights) -> Weights:
    """One bias in the head of mask 3 is not a number."""
    name = f"{HYPER}.3.layers.2.bias"
    changed = weights[name].copy()
    changed[0] = np.nan
    return {name: changed}


_PARTS = ("weight", "bias")


def inject(
    bundle: Path, folder: Path, component: Component, fault: Fault, weights: Weights
) -> Path:
    """A copy of a bundle with a fault in a component's files and a manifest that agrees with them.

    Raises:
        LookupError: a parameter's bytes are not in a file.
    """
    changes = {name: (weights[name], value) for name, value in fault(weights).items()}
    return rewritten(bundle, folder, component, lambda path: _patch(path, changes))


def rewritten(
    bundle: Path, folder: Path, component: Component, edit: Callable[[Path], None]
) -> Path:
    """A copy of a bundle with a component's files edited and a manifest that agrees with them."""
    copy = folder / bundle.name
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / MANIFEST_NAME).read_text())
    for record in manifest["files"]:
        if record["component"] != component:
            continue
        path = copy / record["path"]
        edit(path)
        record |= {"sha256": sha256_of(path), "size_bytes": size_on_disk(path)}
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    return copy


def rewrite_contents(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the content of a file, of every file in a folder, and of the members of archives."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        if not zipfile.is_zipfile(file):
            file.write_bytes(change(file.read_bytes()))
            continue
        with zipfile.ZipFile(file) as archive:
            entries = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(name, change(content))
    seal(path)


def seal(path: Path) -> None:
    """Let an asset of Core AI, which holds a digest of its program, agree with itself again."""
    program, digest = path / "main.mlirb", path / "main.hash"
    if digest.is_file():
        digest.write_bytes(hashlib.sha256(program.read_bytes()).digest())


def _patch(path: Path, changes: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Replace parameters by others, wherever in a file or folder they lie."""
    found: set[str] = set()
    rewrite_contents(path, lambda content: _patched(content, changes, found))
    missing = sorted(set(changes) - found)
    if missing:
        raise LookupError(f"{path.name} does not hold {', '.join(missing)} as they are")


def _patched(
    content: bytes, changes: dict[str, tuple[np.ndarray, np.ndarray]], found: set[str]
) -> bytes:
    result = bytearray(content)
    for name, (before, after) in changes.items():
        for old, new in _stored(before, after):
            start = content.find(old)
            while start >= 0:
                found.add(name)
                result[start : start + len(old)] = new
                start = content.find(old, start + len(old))
    return bytes(result)


def _stored(before: np.ndarray, after: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """Both as a converter may have written them."""
    for dtype in (np.float32, np.float16):
        old, new = before.astype(dtype), after.astype(dtype)
        yield old.tobytes(), new.tobytes()
        if old.ndim == 2:
            yield old.T.tobytes(), new.T.tobytes()
