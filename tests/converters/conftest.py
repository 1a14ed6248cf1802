"""A model small enough to be exported in seconds, with every kind of layer and all of it live."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from converters.bundle import Bundle
from converters.contract import Contract
from converters.export import export_all
from converters.schemes import schemes_of
from mobilesam.sam import MobileSAM
from mobilesam.tiny_vit import TinyViT, TinyViTConfig
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
def _shared_tiny_model() -> MobileSAM:
    return make_tiny_model()


@pytest.fixture
def tiny_model() -> MobileSAM:
    """Not to be changed."""
    return _shared_tiny_model()


@pytest.fixture
def changed_model() -> Callable[[], MobileSAM]:
    """Makes models that a test may change."""
    return make_tiny_model


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Bundle]:
    """Exports the tiny model to a target and scheme, once a session."""
    root: Path = tmp_path_factory.mktemp("tiny-bundles")

    def export(target: str, scheme: str) -> Bundle:
        for module in REQUIRED[target]:
            pytest.importorskip(module, reason=f"{module} is not installed")
        model = _shared_tiny_model()
        # All schemes at once: what one leaves, the next can use.
        folders = {(target, each): root / f"{target}-{each}" for each in schemes_of(target)}
        if not folders[target, scheme].exists():
            export_all(model, Contract.of(model), folders)
        return Bundle(folders[target, scheme])

    return export
