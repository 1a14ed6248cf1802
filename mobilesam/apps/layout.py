"""What the pages of every platform need to know of a bundle, and the table of its tensors."""

import json
import re
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from mobilesam.bundle.contract import Component
from mobilesam.bundle.manifest import BundleFolder, TensorRecord
from mobilesam.errors import BundleError
from mobilesam.web.site import distinct_names

ITEM_BYTES = {"float32": 4, "float16": 2, "uint8": 1}
"""Bytes of one value of each dtype of the contract."""


class Listed(NamedTuple):
    """A bundle as a page speaks of it.

    Attributes:
        name: what the page calls it, such as ``tflite-fp16``; no other bundle's.
        folder: where it lies, relative to the page, with forward slashes.
    """

    name: str
    folder: str
    bundle: BundleFolder

    @property
    def type_name(self) -> str:
        """The name as that of a type in Kotlin, Swift and JavaScript: ``TfliteFp16``."""
        joined = "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", self.name))
        return joined if joined[:1].isalpha() else f"Bundle{joined}"

    @property
    def module_name(self) -> str:
        """The name as that of a file of code: ``tflite_fp16``."""
        return "_".join(part.lower() for part in re.findall(r"[A-Za-z0-9]+", self.name))

    def file(self, component: Component, runtime: str) -> str:
        """Path of a component's file, relative to the page."""
        return f"{self.folder}/{self.bundle.record(component, runtime).path}"

    def tensor(self, component: Component, name: str) -> TensorRecord:
        """An input or output of a component, by its name."""
        signature = self.bundle.manifest.signatures[component]
        for tensor in (*signature.inputs, *signature.outputs):
            if tensor.name == name:
                return tensor
        raise KeyError(name)


def require_scaled_by_app(bundle: BundleFolder) -> None:
    """Check that the app scales the photo, as the code of pages does, but for the web's.

    Raises:
        BundleError: the encoder scales photos of one size itself.
    """
    if bundle.manifest.photo_size is not None:
        raise BundleError(
            f"{bundle.path} scales photos itself (--resize), for which there is code for the web "
            "alone: export it without --resize"
        )


def listed(bundles: Sequence[BundleFolder], folder: str) -> list[Listed]:
    """The bundles under names of their own in one folder.

    Args:
        bundles: in the order in which pages list them.
        folder: relative to the pages; each bundle lies in it under its name.

    Raises:
        BundleError: as of :func:`require_scaled_by_app`.
    """
    for bundle in bundles:
        require_scaled_by_app(bundle)
    names = distinct_names(bundles)
    return [
        Listed(name, f"{folder}/{name}", bundle)
        for name, bundle in zip(names, bundles, strict=True)
    ]


def values(tensor: TensorRecord) -> int:
    """How many values a tensor has at its largest shape."""
    return prod(tensor.shape)


def size_bytes(tensor: TensorRecord) -> int:
    """Bytes of a tensor at its largest shape."""
    return values(tensor) * ITEM_BYTES[tensor.dtype]


def tensor_table(bundle: BundleFolder) -> str:
    """Every tensor of a bundle in Markdown, as its manifest has them."""
    rows = ["| component | | tensor | shape | dtype | holds |", "|---|---|---|---|---|---|"]
    for component, signature in bundle.manifest.signatures.items():
        for way, tensors in (("in", signature.inputs), ("out", signature.outputs)):
            for tensor in tensors:
                shape = json.dumps(list(tensor.shape))
                if tensor.slot_counts or tensor.open_axes:
                    shape += " at most"
                meaning = tensor.meaning.replace("|", "\\|")
                rows.append(
                    f"| {component} | {way} | `{tensor.name}` | {shape} | {tensor.dtype} | "
                    f"{meaning} |"
                )
    return "\n".join(rows)


def facts(each: Listed, runtime: str) -> str:
    """What a page says of a bundle before its code: files, sizes, digests, slots."""
    manifest = each.bundle.manifest
    lines = [
        f"Scheme {manifest.scheme.name}: {manifest.scheme.meaning}. The frame has "
        f"{manifest.image_size} x {manifest.image_size} pixels, the decoder {manifest.slots} "
        "point slots.",
        "",
        "| file | component | MB | SHA-256 in the manifest |",
        "|---|---|---|---|",
    ]
    for record in manifest.files:
        if record.runtime == runtime:
            lines.append(
                f"| [{record.path}]({each.folder}/{record.path}) | {record.component} | "
                f"{record.size_bytes / 1e6:.2f} | `{record.sha256}` |"
            )
    return "\n".join([*lines, "", tensor_table(each.bundle)])
