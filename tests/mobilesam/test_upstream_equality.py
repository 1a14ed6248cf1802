"""Our MobileSAM against upstream's, every parameter and buffer of which is live.

Upstream hard-codes a 64x64 embedding, so all of this is at image size 1024. Tolerances: relative
L2 and largest difference relative to the largest reference value, both 1e-5; masks equal wherever
the logit is not within 1e-4 of the threshold.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mobilesam import Predictor
from mobilesam.errors import MobileSAMError
from mobilesam.model.build import build
from mobilesam.model.sam import MobileSAM
from mobilesam.weights.checkpoints import fit_state_dict
from tests.upstream.oracle import import_upstream

RELATIVE = 1e-5
LOGIT_MARGIN = 1e-4
IMAGE_SIZES = {  # (height, width)
    "wider and larger": (600, 1300),
    "taller and larger": (1200, 900),
    "wider and smaller": (180, 333),
    "taller and smaller": (640, 427),
}


@dataclass(frozen=True)
class Pair:
    """Upstream's predictor and ours, both set to the same image."""

    theirs: Any
    ours: Predictor
    height: int
    width: int


def make_image(height: int, width: int) -> np.ndarray:
    """A uint8 RGB image [H, W, 3] of smooth colour with edges and some noise."""
    generator = np.random.default_rng(height * 10_000 + width)
    coarse = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    smooth[height // 4 : height // 2, width // 3 : width // 2] = (250, 20, 40)
    noise = generator.integers(-20, 21, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def assert_close(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> None:
    a, b = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    assert a.shape == b.shape
    difference = a - b
    assert difference.norm() <= RELATIVE * b.norm()
    assert difference.abs().max() <= RELATIVE * b.abs().max()


@pytest.fixture(scope="module")
def model(upstream: nn.Module) -> MobileSAM:
    built = build("vit_t", image_size=1024)
    fit_state_dict(built, upstream.state_dict())
    return built.eval()


@pytest.fixture(scope="module", params=list(IMAGE_SIZES.values()), ids=list(IMAGE_SIZES))
def pair(request: pytest.FixtureRequest, upstream: nn.Module, model: MobileSAM) -> Pair:
    height, width = request.param
    image = make_image(height, width)
    theirs, ours = import_upstream().SamPredictor(upstream), Predictor(model)
    theirs.set_image(image)
    ours.set_image(image)
    return Pair(theirs, ours, height, width)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts(upstream: Any, model: MobileSAM) -> None:
    assert count(upstream.image_encoder) == 6_065_532
    head = count(upstream.image_encoder.head) + count(upstream.image_encoder.norm_head)
    assert head == 321_640
    assert count(model.image_encoder) == 5_743_892 == 6_065_532 - head
    # The 2x128 Gaussian matrix is a buffer: 6,220 leaves it out, in both.
    assert count(model.prompt_encoder) == count(upstream.prompt_encoder) == 6_220
    assert sum(buffer.numel() for buffer in model.prompt_encoder.buffers()) == 256
    assert count(model.mask_decoder) == count(upstream.mask_decoder) == 4_058_340


def test_loaded_values_are_upstream_s(upstream: nn.Module, model: MobileSAM) -> None:
    theirs, ours = upstream.state_dict(), model.state_dict()
    head = {key for key in theirs if key.startswith(("image_encoder.head.", "image_encoder.norm_"))}
    assert len(head) == 4
    assert set(ours) == set(theirs) - head
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize("key", ["image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"])
def test_loading_is_strict(upstream: nn.Module, key: str) -> None:
    state = upstream.state_dict()
    missing = {name: value for name, value in state.items() if name != key}
    reshaped = {**state, key: state[key][..., None]}
    for broken, named in (
        (missing, key),
        (reshaped, key),
        ({**state, "image_encoder.surplus": state[key]}, "image_encoder.surplus"),
    ):
        with pytest.raises(MobileSAMError, match=named):
            fit_state_dict(build(), broken)


def test_every_parameter_reaches_the_output(model: MobileSAM) -> None:
    """No parameter is dead, so none could differ from upstream's unseen."""
    small = build("vit_t", image_size=256)
    small.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(1, 2, 2, generator=generator) * 256, torch.tensor([[1, 0]]))
    box = torch.tensor([[20.0, 30.0, 200.0, 180.0]])
    mask = torch.randn(1, 1, 64, 64, generator=generator)
    embedding = small.image_encoder(torch.randn(1, 3, 256, 256, generator=generator))
    for prompt in ((points, None, None), (points, box, mask)):
        tokens = small.prompt_encoder(*prompt)
        outputs = small.mask_decoder(embedding, small.prompt_encoder.image_position(), *tokens)
        random = [torch.randn(output.shape, generator=generator) for output in outputs]
        torch.autograd.backward(outputs, random, retain_graph=True)
    for name, parameter in small.named_parameters():
        if name.endswith("k_proj.bias"):
            continue  # adds the same to every score of a softmax: it cannot change the answer
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-3, name


def test_preprocessing_and_image_encoder(pair: Pair) -> None:
    assert_close(pair.ours.embedding, pair.theirs.features)


PROMPT_PARTS = {
    "one point": (1, False, False),
    "points": (5, False, False),
    "box": (0, True, False),
    "box and points": (3, True, False),
    "mask": (0, False, True),
    "everything": (4, True, True),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("parts", PROMPT_PARTS.values(), ids=PROMPT_PARTS.keys())
@torch.no_grad()
def test_prompt_encoder_and_mask_decoder(
    upstream: Any, model: MobileSAM, parts: tuple[int, bool, bool], batch: int
) -> None:
    points_count, with_box, with_mask = parts
    generator = torch.Generator().manual_seed(points_count + 10 * batch)
    points = boxes = masks = None
    if points_count:
        coords = torch.rand(batch, points_count, 2, generator=generator) * 1024
        labels = torch.randint(0, 2, (batch, points_count), generator=generator)
        points = (coords, labels)
    if with_box:
        corners = torch.rand(batch, 2, 2, generator=generator) * 1024
        boxes = corners.sort(dim=1).values.reshape(batch, 4)
    if with_mask:
        masks = torch.randn(batch, 1, 256, 256, generator=generator) * 8

    sparse, dense = upstream.prompt_encoder(points=points, boxes=boxes, masks=masks)
    our_sparse, our_dense = model.prompt_encoder(points, boxes, masks)
    if sparse.shape[1]:
        assert_close(our_sparse, sparse)
    else:
        assert our_sparse.shape == sparse.shape
    assert_close(our_dense.expand_as(dense), dense)

    embedding = torch.randn(1, 256, 64, 64, generator=generator)
    position = upstream.prompt_encoder.get_dense_pe()
    assert_close(model.prompt_encoder.image_position(), position)
    our_masks, our_iou = model.mask_decoder(
        embedding, model.prompt_encoder.image_position(), our_sparse, our_dense
    )
    # Upstream returns either the first or the other three; ours returns all four.
    for multimask, chosen in ((False, slice(0, 1)), (True, slice(1, None))):
        masks_out, iou = upstream.mask_decoder(
            image_embeddings=embedding,
            image_pe=position,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        assert_close(our_masks[:, chosen], masks_out)
        assert_close(our_iou[:, chosen], iou)


def make_prompts(height: int, width: int) -> dict[str, dict[str, Any]]:
    size = np.array([width, height])
    point = np.array([[0.31, 0.44]]) * size
    points = np.array([[0.31, 0.44], [0.8, 0.12], [0.02, 0.97], [0.4, 0.4]]) * size
    box = (np.array([[0.2, 0.15], [0.71, 0.66]]) * size).reshape(4)
    mask = np.random.default_rng(3).normal(0, 8, (1, 256, 256)).astype(np.float32)
    return {
        "point": {"point_coords": point, "point_labels": np.array([1])},
        "points": {"point_coords": points, "point_labels": np.array([1, 0, 0, 1])},
        "box": {"box": box},
        "point + box": {"point_coords": point, "point_labels": np.array([1]), "box": box},
        "point + mask": {
            "point_coords": point,
            "point_labels": np.array([0]),
            "mask_input": mask,
        },
        "box + mask": {"box": box, "mask_input": mask},
        "mask": {"mask_input": mask},
    }


@pytest.mark.parametrize("multimask", [True, False], ids=["multimask", "single mask"])
@pytest.mark.parametrize("name", make_prompts(1, 1))
def test_predictor(pair: Pair, name: str, multimask: bool) -> None:
    prompt = make_prompts(pair.height, pair.width)[name]
    kwargs = {"multimask_output": multimask, "return_logits": True}
    logits, iou, low_res = pair.theirs.predict(**prompt, **kwargs)
    our_logits, our_iou, our_low_res = pair.ours.predict(**prompt, **kwargs)
    assert logits.shape == (3 if multimask else 1, pair.height, pair.width)
    assert_close(our_logits, logits)
    assert_close(our_low_res, low_res)
    assert_close(our_iou, iou)

    decided = np.abs(logits) > LOGIT_MARGIN
    masks = logits > pair.theirs.model.mask_threshold
    assert 0 < masks.mean() < 1, "a mask that is empty or full would be equal to any other such"
    assert decided.mean() > 0.99
    assert np.array_equal((our_logits > 0)[decided], masks[decided])


def test_predictor_returns_boolean_masks(pair: Pair) -> None:
    prompt = make_prompts(pair.height, pair.width)["points"]
    masks, _, _ = pair.theirs.predict(**prompt)
    ours, _, _ = pair.ours.predict(**prompt)
    logits, _, _ = pair.theirs.predict(**prompt, return_logits=True)
    assert ours.dtype == masks.dtype == np.bool_
    decided = np.abs(logits) > LOGIT_MARGIN
    assert np.array_equal(ours[decided], masks[decided])


def test_own_low_res_masks_refine(pair: Pair) -> None:
    prompt = make_prompts(pair.height, pair.width)["point"]
    _, scores, low_res = pair.theirs.predict(**prompt)
    best = int(scores.argmax())
    again = {**prompt, "mask_input": low_res[best : best + 1], "multimask_output": False}
    refined, _, _ = pair.theirs.predict(**again, return_logits=True)
    ours, _, _ = pair.ours.predict(**again, return_logits=True)
    assert_close(ours, refined)


def test_batched_prompts(pair: Pair) -> None:
    corners = np.array([[[0.1, 0.1], [0.5, 0.6]], [[0.3, 0.2], [0.9, 0.95]]])
    boxes = (corners * (pair.width, pair.height)).reshape(2, 4)
    transformed = pair.theirs.transform.apply_boxes(boxes, (pair.height, pair.width))
    theirs = torch.as_tensor(transformed, dtype=torch.float)
    ours = torch.as_tensor(pair.ours.frame.boxes_to_frame(boxes))
    for a, b in zip(
        pair.ours.predict_torch(None, None, ours, return_logits=True),
        pair.theirs.predict_torch(None, None, theirs, return_logits=True),
        strict=True,
    ):
        assert_close(a, b)
