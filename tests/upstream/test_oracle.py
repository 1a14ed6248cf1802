"""The oracle itself: whole, live in every entry, and invisible to other libraries."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.upstream.oracle import build_upstream, import_upstream

OFFICIAL_SHAPES = Path(__file__).parent.parent / "data" / "official_shapes.json"


def test_state_dict_is_the_official_checkpoint_s(upstream: nn.Module) -> None:
    official = {key: tuple(shape) for key, shape in json.loads(OFFICIAL_SHAPES.read_text()).items()}
    built = {key: tuple(value.shape) for key, value in upstream.state_dict().items()}
    assert len(official) == 439
    assert built == official


def test_every_entry_is_live(upstream: nn.Module) -> None:
    fresh = import_upstream().sam_model_registry["vit_t"]().state_dict()
    for key, value in upstream.state_dict().items():
        assert torch.isfinite(value).all(), key
        assert not torch.equal(value, fresh[key]), f"{key} was left as it was built"
        assert value.numel() == 1 or value.double().std() > 0.01, f"{key} is constant"


def test_bias_cache_follows_the_weights(upstream: nn.Module) -> None:
    for name, module in upstream.named_modules():
        if hasattr(module, "attention_biases"):
            assert torch.equal(module.ab, module.attention_biases[:, module.attention_bias_idxs]), (
                name
            )


def test_seed_decides(upstream: nn.Module) -> None:
    again, other = build_upstream(seed=0).state_dict(), build_upstream(seed=1).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in upstream.state_dict().items())
    assert not torch.equal(
        again["mask_decoder.iou_token.weight"], other["mask_decoder.iou_token.weight"]
    )


def test_stand_ins_do_not_stay(upstream: nn.Module) -> None:
    stand_ins = str(Path("tests/upstream/stand_ins"))
    assert not any(stand_ins in entry for entry in sys.path)
    for name in ("timm", "torchvision"):
        assert stand_ins not in str(getattr(sys.modules.get(name), "__file__", ""))


def test_stand_in_nms_keeps_the_best_of_each_class(upstream: nn.Module) -> None:
    generator = import_upstream().automatic_mask_generator
    boxes = torch.tensor(
        [[0, 0, 10, 10], [1, 1, 11, 11], [1, 1, 11, 11], [50, 50, 60, 60]], dtype=torch.float32
    )
    scores = torch.tensor([0.5, 0.9, 0.8, 0.1])
    classes = torch.tensor([0, 0, 1, 0])
    assert generator.batched_nms(boxes, scores, classes, 0.5).tolist() == [1, 2, 3]
    assert generator.box_area(boxes).tolist() == [100, 100, 100, 100]


def test_stand_in_resize_takes_height_first(upstream: nn.Module) -> None:
    transform = import_upstream().utils.transforms.ResizeLongestSide(64)
    resized = transform.apply_image(np.zeros((100, 200, 3), np.uint8))
    assert resized.shape == (32, 64, 3)
    with pytest.raises(TypeError, match="uint8"):
        transform.apply_image(np.zeros((4, 4, 3), np.float32))
