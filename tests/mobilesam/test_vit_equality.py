"""SAM's own image encoders against upstream's, every parameter and buffer of which is live.

Tolerances as in :mod:`tests.mobilesam.test_upstream_equality`. Whole models are of a small shape,
at 1024; the encoder alone is also compared at other sizes, and in the true shape of ``vit_b``.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam import Predictor
from mobilesam.errors import MobileSAMError
from mobilesam.model.build import VARIANTS, build
from mobilesam.model.layers import bake
from mobilesam.model.sam import MobileSAM
from mobilesam.model.vit import VIT_B, VIT_H, VIT_L, ViT, ViTConfig
from mobilesam.weights.checkpoints import fit_state_dict
from tests.mobilesam.test_upstream_equality import (
    assert_close,
    count,
    make_image,
    make_prompts,
)
from tests.upstream.oracle import build_upstream_vit, import_upstream, randomize

CONFIGS = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}
SMALL = ViTConfig(channels=32, depth=4, num_heads=2, global_blocks=(1, 3))
"""With windows, an embedding grid and a neck as the true ones have."""


def random_image(size: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def upstream_for(config: ViTConfig, trained: nn.Module, size: int) -> nn.Module:
    """Upstream's encoder for another image size, with the parameters of one for 1024.

    It stretches relative positions itself, and its own position embedding is of one size.
    """
    made = build_upstream_vit(config, size)
    state = dict(trained.state_dict())
    planes = state.pop("pos_embed").permute(0, 3, 1, 2)
    grid = size // config.patch
    planes = F.interpolate(planes, size=(grid, grid), mode="bicubic")
    made.pos_embed = nn.Parameter(planes.permute(0, 2, 3, 1))
    for name, value in state.items():
        owner, _, own = name.rpartition(".")
        setattr(made.get_submodule(owner), own, nn.Parameter(value))
    return made


@pytest.fixture(scope="module")
def upstream_vit() -> nn.Module:
    """Upstream's Sam with a small encoder of the original kind."""
    model: Any = import_upstream().sam_model_registry["vit_t"]()
    model.image_encoder = build_upstream_vit(SMALL, 1024)
    randomize(model, seed=0)
    return model


@pytest.fixture(scope="module")
def model(upstream_vit: nn.Module) -> MobileSAM:
    made = MobileSAM(ViT(SMALL), variant="small", image_size=1024)
    fit_state_dict(made, upstream_vit.state_dict())
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("vit_b", 89_670_912), ("vit_l", 308_278_272), ("vit_h", 637_026_048)],
)
def test_names_shapes_and_counts_are_upstream_s(variant: str, parameters: int) -> None:
    import_upstream()
    with torch.device("meta"):
        theirs: Any = import_upstream().sam_model_registry[variant]()
        ours: Any = build(variant)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    assert shapes == {name: value.shape for name, value in theirs.state_dict().items()}
    assert count(ours.image_encoder) == count(theirs.image_encoder) == parameters
    for own, other in zip(ours.image_encoder.blocks, theirs.image_encoder.blocks, strict=True):
        assert own.window == other.window_size
        assert own.attn.num_heads == other.attn.num_heads
        assert own.norm1.eps == other.norm1.eps == own.norm2.eps


def test_every_variant_is_built_with_the_same_decoder() -> None:
    with torch.device("meta"):
        shapes = [
            {n: v.shape for n, v in build(variant).state_dict().items() if "image_encoder" not in n}
            for variant in VARIANTS
        ]
    assert shapes == [shapes[0]] * len(shapes)


@pytest.mark.parametrize("size", [(600, 1300), (640, 427)], ids=["wider", "taller"])
def test_embedding_and_masks_of_photos(
    upstream_vit: nn.Module, model: MobileSAM, size: tuple[int, int]
) -> None:
    image = make_image(*size)
    theirs, ours = import_upstream().SamPredictor(upstream_vit), Predictor(model)
    theirs.set_image(image)
    ours.set_image(image)
    assert_close(ours.embedding, theirs.features)
    prompt = make_prompts(*size)["point + box"]
    for own, other in zip(
        ours.predict(**prompt, return_logits=True),
        theirs.predict(**prompt, return_logits=True),
        strict=True,
    ):
        assert_close(own, other)


@pytest.mark.parametrize("size", [64, 224, 256, 320, 1088])
@torch.no_grad()
def test_other_sizes(upstream_vit: Any, model: MobileSAM, size: int) -> None:
    """Grids of less than a window, of whole windows, with padding, and beyond the tables."""
    image = random_image(size)
    wanted = upstream_for(SMALL, upstream_vit.image_encoder, size)(image)
    assert_close(model.image_encoder(image), wanted)


@torch.no_grad()
def test_the_true_shape_of_vit_b() -> None:
    theirs = build_upstream_vit(VIT_B, 256)
    randomize(theirs, seed=0)
    ours = ViT(ViTConfig(**{**vars(VIT_B), "grid_size": 16}))
    ours.load_state_dict(theirs.state_dict())
    image = random_image(256)
    assert_close(ours(image), theirs(image))


@torch.no_grad()
def test_a_batch_is_its_images(model: MobileSAM) -> None:
    images = torch.cat([random_image(256, seed) for seed in range(3)])
    together = model.image_encoder(images)
    for image, embedding in zip(images, together, strict=True):
        assert_close(embedding[None], model.image_encoder(image[None]))


@torch.no_grad()
def test_sides_that_differ(model: MobileSAM) -> None:
    """Rows are rows and columns columns: what lies in one is not taken for the other."""
    image = random_image(256)
    turned: Any = ViT(SMALL)
    turned.load_state_dict(model.image_encoder.state_dict())
    for block in turned.blocks:
        attention = block.attn
        attention.rel_pos_h, attention.rel_pos_w = attention.rel_pos_w, attention.rel_pos_h
    plain = model.image_encoder(image)
    assert (turned(image) - plain).norm() > 0.01 * plain.norm()


@torch.no_grad()
def test_baked_tables_change_nothing(model: MobileSAM) -> None:
    image = random_image(320)
    baked = ViT(SMALL)
    baked.load_state_dict(model.image_encoder.state_dict())
    bake(baked, 20)
    assert torch.equal(baked(image), model.image_encoder(image))
    assert set(baked.state_dict()) == set(model.image_encoder.state_dict())
    tables = [name for name, _ in baked.named_buffers()]
    assert len(tables) == 1 + 2 * SMALL.depth
    assert all(buffer.is_contiguous() for buffer in baked.buffers())


def test_no_tensor_has_more_than_four_axes(model: MobileSAM) -> None:
    for size in (256, 320):
        program = torch.export.export(model.image_encoder, (random_image(size),))
        program = program.run_decompositions({})
        ranks = [
            node.meta["val"].ndim
            for node in program.graph.nodes
            if isinstance(node.meta.get("val"), Tensor)
        ]
        assert len(ranks) > 100 and max(ranks) == 4


def test_every_parameter_reaches_the_output(upstream_vit: nn.Module) -> None:
    encoder = ViT(SMALL)
    state = upstream_vit.image_encoder.state_dict()  # type: ignore[union-attr]
    encoder.load_state_dict(state)
    embedding = encoder(random_image(320))
    embedding.backward(torch.randn(embedding.shape, generator=torch.Generator().manual_seed(1)))
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-3, name


@pytest.mark.parametrize(
    "key", ["image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h"]
)
def test_loading_is_strict(upstream_vit: nn.Module, key: str) -> None:
    state = upstream_vit.state_dict()
    missing = {name: value for name, value in state.items() if name != key}
    for broken, named in (
        (missing, key),
        ({**state, key: state[key][..., None]}, key),
        ({**state, "image_encoder.surplus": state[key]}, "image_encoder.surplus"),
    ):
        with pytest.raises(MobileSAMError, match=named):
            fit_state_dict(MobileSAM(ViT(SMALL), variant="small"), broken)
