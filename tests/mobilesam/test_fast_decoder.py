"""The fast decoder is the mask decoder: the same answers in another order of sums."""

from functools import cache

import pytest
import torch
from torch import Tensor

from mobilesam.model import fast_decoder
from mobilesam.model.build import build
from mobilesam.model.fast_decoder import FastDecoder
from mobilesam.model.few_tokens import Teller, look, per_head
from mobilesam.model.sam import MobileSAM
from mobilesam.model.transformer import Attention
from tests.rounding import relative_l2
from tests.tiny_bundles import tiny_model
from tests.upstream.oracle import randomize

CLOSE = 2e-6
"""Relative L2: two float32 computations of some ten layers in different orders."""

POINT = [[300.0, 200.0]], [1.0]
PROMPTS = {
    "a point": (POINT, None),
    "a point at the corner": (([[0.0, 0.0]], [1.0]), None),
    "two points": (([[300.0, 200.0], [20.0, 900.0]], [1.0, 0.0]), None),
    "seven points": (([[100.0 * i, 990.0 - 100.0 * i] for i in range(7)], [1.0] * 7), None),
    "a box": (None, [100.0, 50.0, 800.0, 700.0]),
    "a point and a box": (POINT, [100.0, 50.0, 800.0, 700.0]),
}


@cache
def _full_model() -> MobileSAM:
    model = build("vit_t", image_size=256)
    randomize(model, seed=3)
    return model.requires_grad_(False)


@pytest.fixture(params=["tiny", "vit_t"])
def model(request: pytest.FixtureRequest) -> MobileSAM:
    return tiny_model() if request.param == "tiny" else _full_model()


def _embedding(model: MobileSAM) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(1, model.channels, model.grid_size, model.grid_size, generator=generator)


def _prompt(model: MobileSAM, name: str) -> Tensor:
    """Tokens of a prompt, 1xKxC, of coordinates in a frame of 1024."""
    points, box = PROMPTS[name]
    scale = model.image_size / 1024
    given = None
    if points is not None:
        given = torch.tensor([points[0]]) * scale, torch.tensor([points[1]])
    boxes = None if box is None else torch.tensor([box]) * scale
    sparse: Tensor = model.prompt_encoder(given, boxes, None)[0]
    return sparse


@pytest.mark.parametrize("name", PROMPTS)
def test_answers_are_the_mask_decoder_s(model: MobileSAM, name: str) -> None:
    embedding, sparse = _embedding(model), _prompt(model, name)
    encoder = model.prompt_encoder
    with torch.inference_mode():
        low_res, iou = model.mask_decoder(
            embedding, encoder.image_position(), sparse, encoder.embed_no_mask()
        )
        decoder = FastDecoder(model, embedding)
        attended = decoder.attend(sparse[0])
        assert relative_l2(decoder.iou_predictions(attended), iou[0]) < CLOSE
        found = decoder.masks(attended, [0, 1, 2, 3])
        assert found.shape == low_res[0].shape
        for mask, wanted in zip(found, low_res[0], strict=True):
            assert relative_l2(mask, wanted) < CLOSE
        # Some of the masks, in any order, are those of all.
        some = decoder.masks(attended, [3, 1])
        assert relative_l2(some, low_res[0][[3, 1]]) < CLOSE


def test_blocks_leave_tokens_and_image_as_the_transformer_does(model: MobileSAM) -> None:
    embedding, sparse = _embedding(model), _prompt(model, "two points")
    own = torch.cat(
        [model.mask_decoder.iou_token.weight, model.mask_decoder.mask_tokens.weight]
    ).unsqueeze(0)
    tokens = torch.cat([own, sparse], dim=1)
    image = embedding + model.prompt_encoder.embed_no_mask()
    with torch.inference_mode():
        _, wanted = model.mask_decoder.transformer(
            image, model.prompt_encoder.image_position(), tokens
        )
        attended = FastDecoder(model, embedding).attend(sparse[0])
    assert torch.equal(attended.positions, tokens[0])
    assert relative_l2(attended.image, wanted[0]) < CLOSE


def test_cells_are_upscaled_in_parts(model: MobileSAM, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FastDecoder(model, _embedding(model))
    with torch.inference_mode():
        attended = decoder.attend(_prompt(model, "a point")[0])
        whole = decoder.masks(attended, [1, 2, 3])
        monkeypatch.setattr(fast_decoder, "CELLS", 24)  # the last part is smaller
        assert relative_l2(decoder.masks(attended, [1, 2, 3]), whole) < CLOSE


@pytest.mark.parametrize("shown", [(1, 8), (8, 5), (3, 2)])
def test_masks_of_some_cells_are_part_of_the_whole(
    model: MobileSAM, shown: tuple[int, int]
) -> None:
    embedding, sparse = _embedding(model), _prompt(model, "a point")[0]
    with torch.inference_mode():
        whole = FastDecoder(model, embedding)
        part = FastDecoder(model, embedding, shown)
        found = part.masks(part.attend(sparse), [1, 3])
        wanted = whole.masks(whole.attend(sparse), [1, 3])
    height, width = (4 * side for side in shown)
    assert found.shape == (2, height, width)
    assert relative_l2(found, wanted[:, :height, :width]) < CLOSE


def test_prompts_do_not_leave_traces(model: MobileSAM) -> None:
    decoder = FastDecoder(model, _embedding(model))
    with torch.inference_mode():
        first = decoder.attend(_prompt(model, "a point")[0])
        before = decoder.masks(first, [1, 2, 3])
        decoder.masks(decoder.attend(_prompt(model, "seven points")[0]), [0])
        again = decoder.attend(_prompt(model, "a point")[0])
        assert torch.equal(before, decoder.masks(again, [1, 2, 3]))
        assert torch.equal(before, decoder.masks(first, [1, 2, 3]))


def _attention() -> Attention:
    attention = Attention(32, num_heads=4, downsample_rate=2)
    randomize(attention, seed=1)
    return attention.requires_grad_(False)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_looking_is_attention_of_tokens_to_the_image(tokens: int) -> None:
    attention, image, position = _attention(), _random(50, 32), _random(50, 32, seed=1)
    given = _random(tokens, 32, seed=2)
    wanted = attention(given[None], (image + position)[None], image[None])[0]
    assert relative_l2(look(attention, given, image + position, image), wanted) < CLOSE


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_telling_is_attention_of_the_image_to_tokens(tokens: int) -> None:
    attention, image, position = _attention(), _random(50, 32), _random(50, 32, seed=1)
    given, places = _random(tokens, 32, seed=2), _random(tokens, 32, seed=3)
    placed = image + position
    wanted = image + attention(placed[None], (given + places)[None], given[None])[0]
    teller = Teller(attention, given, places)
    of_cells = teller.tell(image, teller.scores_of_cells(placed))
    assert relative_l2(of_cells, wanted) < CLOSE
    queries = per_head(attention, attention.q_proj(placed)).permute(1, 2, 0)
    of_queries = teller.tell(image, teller.scores_of_queries(queries))
    assert relative_l2(of_queries, wanted) < CLOSE
