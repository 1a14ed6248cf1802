"""Layers that are computed another way give what they gave, and learn what they learnt."""

import pytest
import torch
from torch import nn

from mobilesam.model.layers import LayerNorm2d
from mobilesam.training.initial import initial_model
from mobilesam.training.quick import quicken

LAYERS = {
    "transposed": lambda: nn.ConvTranspose2d(6, 4, 2, stride=2),
    "transposed, oblong": lambda: nn.ConvTranspose2d(6, 4, (3, 2), stride=(3, 2), bias=False),
    "overlapping": lambda: nn.ConvTranspose2d(6, 4, 3, stride=2),
    "mixing": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "striding": lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "pointwise": lambda: nn.Conv2d(6, 8, 1),
    "norm": lambda: LayerNorm2d(6),
}
EXCHANGED = {"transposed", "transposed, oblong", "mixing", "striding", "norm"}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bf16", [False, True])
def test_result_and_gradients_stay(name: str, bf16: bool) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 6, 8, 10, requires_grad=True)
    inputs = [x, *layer.parameters()]
    found = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = layer(x)
        weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
        found.append((y, *torch.autograd.grad((y.float() * weights).sum(), inputs)))
        quicken(layer)
    assert ("forward" in vars(layer)) == (name in EXCHANGED)
    for before, after in zip(*found, strict=True):
        assert after.shape == before.shape
        far = (after.float() - before.float()).norm() / before.float().norm()
        assert far < (2e-2 if bf16 else 1e-5)
    assert found[1][0].dtype == found[0][0].dtype or name == "norm"


def test_a_whole_model_answers_the_same() -> None:
    model = initial_model("vit_t", "fresh", 64, 0).eval()
    names = list(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    sparse, dense = torch.randn(1, 2, 256), torch.randn(1, 256, 1, 1)
    answers = []
    with torch.inference_mode():
        for _ in range(2):
            embedding = model.image_encoder(image)
            masks, iou = model.mask_decoder(
                embedding, torch.randn_like(embedding) * 0, sparse, dense
            )
            answers.append((embedding, masks, iou))
            quicken(model)
    for before, after in zip(*answers, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert list(model.state_dict()) == names
