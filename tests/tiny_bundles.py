"""Bundles of a model small enough to be exported in seconds, with every kind of layer, all live."""

from functools import lru_cache

import pytest

from conftest import shared_folder
from converters import export
from converters.coreml.options import CoreMLOptions, minimum_ios
from converters.lookup import schemes_of
from converters.schemes import COREML
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViT, TinyViTConfig
from mobilesam.runtimes.bundle import Bundle
from tests.live_bundles import REQUIRED
from tests.upstream.oracle import randomize

SIZE = 128
CHANNELS = 32


def make_tiny_model() -> MobileSAM:
    """A fresh one, to be changed by a test."""
    config = TinyViTConfig(
        embed_dims=(8, 16, 16, 24),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 3),
        out_channels=CHANNELS,
    )
    model = MobileSAM(TinyViT(config), variant="tiny", image_size=SIZE, channels=CHANNELS)
    randomize(model, seed=0)
    return model.requires_grad_(False)


@lru_cache
def tiny_model() -> MobileSAM:
    """The one that is exported; not to be changed."""
    return make_tiny_model()


def tiny_bundle(temporary: pytest.TempPathFactory, target: str, scheme: str = "fp32") -> Bundle:
    """The tiny model's bundle, exported on first use; to be read only.

    Skips when the converter is not installed.
    """
    for module in REQUIRED[target]:
        pytest.importorskip(module, reason=f"{module} is not installed")
    root = shared_folder(temporary, "tiny-bundles")
    folder = root / f"{target}-{scheme}"
    if not folder.exists():
        # Several schemes at once: what one leaves, the next can use.
        group = _group(target, scheme)
        together = [each for each in schemes_of(target) if _group(target, each) == group]
        options = {COREML: CoreMLOptions(ios=minimum_ios(scheme))} if target == COREML else {}
        export(
            tiny_model(),
            targets=target,
            schemes=together,
            out=root,
            options=options,
            progress=False,
        )
    return Bundle(folder)


def _group(target: str, scheme: str) -> tuple[bool | str, int]:
    """What is equal for schemes that are exported together.

    Quantizing takes long, and few tests need it.
    """
    if target == "executorch":  # whose schemes share no work
        return scheme, 0
    return scheme not in ("fp32", "fp16"), minimum_ios(scheme) if target == COREML else 0
