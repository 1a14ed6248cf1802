"""Bundles of a model small enough to be exported in seconds, with every kind of layer, all live."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from converters import export
from converters.coreml.options import minimum_ios
from converters.executorch.options import ExecuTorchOptions
from converters.lookup import schemes_of
from converters.schemes import COREML, EXECUTORCH
from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import TinyViT, TinyViTConfig
from mobilesam.model.vit import ViT, ViTConfig
from mobilesam.runtimes.bundle import Bundle
from tests.shared_bundles import exported, require_converter
from tests.upstream.oracle import randomize

SIZE = 128
CHANNELS = 32
EXECUTORCH_COREML = "executorch on coreml"
"""Stands for target ``executorch`` with that backend."""
SMALL_VIT = ViTConfig(
    channels=96,
    depth=3,
    num_heads=2,
    global_blocks=(1,),
    grid_size=12,
    window=7,
    mlp_ratio=2.0,
    out_channels=CHANNELS,
)
"""Its tables are for another size than ``SIZE``, and large enough to be compressed."""


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


@cache
def tiny_model() -> MobileSAM:
    """The one that is exported; not to be changed."""
    return make_tiny_model()


@cache
def vit_model() -> MobileSAM:
    """A small one with SAM's own image encoder; not to be changed."""
    encoder = ViT(SMALL_VIT)
    model = MobileSAM(encoder, variant="tiny_plain", image_size=SIZE, channels=CHANNELS)
    randomize(model, seed=0)
    # Of both models alike, it is converted once (tests.shared_bundles).
    model.prompt_encoder, model.mask_decoder = (
        tiny_model().prompt_encoder,
        tiny_model().mask_decoder,
    )
    return model.requires_grad_(False)


@cache
def tiny_bundle(target: str, scheme: str = "fp32") -> Bundle:
    """The tiny model's bundle, exported on first use; to be read only.

    Args:
        target: its name, or :data:`EXECUTORCH_COREML`.

    Skips when the converter is not installed.
    """
    if target == EXECUTORCH_COREML:
        options = ExecuTorchOptions(backend="coreml")
        return exported(tiny_model(), "tiny-coreml", EXECUTORCH, [scheme], options)[scheme]
    return _exported(tiny_model(), "tiny", target, scheme)


@cache
def vit_bundle(target: str, scheme: str = "fp32") -> Bundle:
    """The same of :func:`vit_model`."""
    return _exported(vit_model(), "tiny_plain", target, scheme)


def _exported(model: MobileSAM, name: str, target: str, scheme: str) -> Bundle:
    # Several schemes at once: what one leaves, the next can use.
    together = [s for s in schemes_of(target) if _group(target, s) == _group(target, scheme)]
    return exported(model, name, target, together)[scheme]


def _group(target: str, scheme: str) -> tuple[bool | str, int]:
    """What is equal for schemes that are exported together.

    Quantizing takes long, and few tests need it.
    """
    if target == "executorch":  # whose schemes share no work
        return scheme, 0
    return scheme not in ("fp32", "fp16"), minimum_ios(scheme) if target == COREML else 0


def assert_refused(target: str, sentence: str, out: Path, **asked: Any) -> None:
    """An export of the tiny model, in fp32 if not asked otherwise, is refused and writes nothing.

    Skips when the converter is not installed.
    """
    require_converter(target)
    with pytest.raises(InputError, match=sentence):
        export(tiny_model(), targets=target, out=out, **{"schemes": "fp32", **asked})
    assert not out.exists()
