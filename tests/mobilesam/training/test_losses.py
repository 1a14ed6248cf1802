"""Losses against values worked out by hand or by NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mobilesam.training.config import LossWeights
from mobilesam.training.losses import mask_iou, mask_losses, promptable_loss

SURE = 40.0  # a logit whose sigmoid is one in float32
ONLY = {
    name: LossWeights(**({"balanced": 0, "focal": 0, "dice": 0, "iou": 0} | {name: 1.0}))
    for name in ("balanced", "focal", "dice", "iou")
}


def grid(*rows: str) -> Tensor:
    """[1, 1, h, w] of a picture: '#' one, '.' zero."""
    return torch.tensor([[float(c == "#") for c in row] for row in rows])[None, None]


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits [3, 4, 8, 8], IoU predictions, targets, valid: the right quarter is padding."""
    source = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, 4, 8, 8, generator=source)
    valid = torch.ones(3, 8, 8)
    valid[:, :, 6:] = 0
    targets = (torch.rand(3, 8, 8, generator=source) < 0.3).float() * valid
    return logits, torch.rand(3, 4, generator=source), targets, valid


def test_dice_by_hand() -> None:
    target, found = grid("##..", "...."), grid(".##.", "....")
    logits = SURE * (2 * found - 1)
    loss = mask_losses(logits, target, torch.ones_like(target), ONLY["dice"])
    assert float(loss) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    perfect = mask_losses(SURE * (2 * target - 1), target, torch.ones_like(target), ONLY["dice"])
    assert float(perfect) == pytest.approx(0, abs=1e-6)


def test_balanced_by_hand() -> None:
    target = grid("#...", "....")
    logits = torch.where(target > 0, 0.7, -0.2)
    loss = mask_losses(logits, target, torch.ones_like(target), ONLY["balanced"])
    inside, outside = math.log1p(math.exp(-0.7)), math.log1p(math.exp(-0.2))
    assert float(loss) == pytest.approx(0.5 * (inside + outside))


def test_focal_is_the_formula() -> None:
    logits, _, targets, valid = random_case()
    loss = mask_losses(logits, targets[:, None], valid[:, None], ONLY["focal"])
    x, t, v = logits.numpy().astype(np.float64), targets.numpy()[:, None], valid.numpy()[:, None]
    chance = 1 / (1 + np.exp(-x))
    right = np.where(t == 1, chance, 1 - chance)
    alpha = np.where(t == 1, 0.25, 0.75)
    each = -alpha * (1 - right) ** 2 * np.log(right)
    expected = (each * v).sum((2, 3)) / v.sum((2, 3))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5)


def test_terms_add_up_by_weight() -> None:
    logits, _, targets, valid = random_case()
    given = logits, targets[:, None], valid[:, None]
    weights = LossWeights(balanced=0.3, focal=5, dice=2)
    total = mask_losses(*given, weights)
    parts = [mask_losses(*given, ONLY[name]) for name in ("balanced", "focal", "dice")]
    torch.testing.assert_close(total, 0.3 * parts[0] + 5 * parts[1] + 2 * parts[2])


def test_padding_has_no_influence() -> None:
    logits, predictions, targets, valid = random_case()
    weights = LossWeights(focal=2)
    changed = torch.where(valid[:, None] > 0, logits, logits.flip(0) * 7 + 1)
    one = logits.clone().requires_grad_()
    other = changed.clone().requires_grad_()
    losses = [promptable_loss(x, predictions, targets, valid, weights) for x in (one, other)]
    for first, second in zip(*losses, strict=True):
        torch.testing.assert_close(first, second)
    for loss, tensor in zip(losses, (one, other), strict=True):
        loss.total.backward()
        assert tensor.grad is not None
        assert (tensor.grad[..., 6:] == 0).all() and (tensor.grad[..., :6] != 0).any()


def test_the_best_of_three_learns() -> None:
    logits, predictions, targets, valid = random_case()
    weights = LossWeights(iou=0)

    def gradient(loss_of: int | None) -> Tensor:
        tensor = logits.clone().requires_grad_()
        if loss_of is None:
            promptable_loss(tensor, predictions, targets, valid, weights).total.backward()
        else:
            each = mask_losses(tensor, targets[:, None], valid[:, None], weights)
            each[:, loss_of].mean().backward()
        assert tensor.grad is not None
        return tensor.grad

    together = gradient(None)
    each = mask_losses(logits, targets[:, None], valid[:, None], weights)
    best = 1 + each[:, 1:].argmin(dim=1)
    for mask in range(4):
        alone = gradient(mask)[:, mask]
        share = torch.where(best == mask, 0.95 + 0.05 / 3, 0.05 / 3)
        share = torch.ones(3) if mask == 0 else share
        torch.testing.assert_close(together[:, mask], share[:, None, None] * alone)


def test_iou_predictions_learn_the_true_iou() -> None:
    target = grid("##..", "....")
    found = torch.cat([grid("##..", "...."), grid(".##.", "...."), grid("....", "####")], 1)
    logits = SURE * (2 * torch.cat([found, 0 * target], 1) - 1)
    logits.requires_grad_()
    predictions = torch.tensor([[0.5, 0.5, 0.5, 0.5]], requires_grad=True)
    weights = ONLY["iou"].model_copy(update={"iou": 2.0})
    loss = promptable_loss(logits, predictions, target[0], torch.ones(1, 2, 4), weights)
    true = torch.tensor([[1, 1 / 3, 0, 0]])
    torch.testing.assert_close(loss.ious, true)
    expected = float(((0.5 - true) ** 2).mean())
    assert float(loss.iou) == pytest.approx(expected)
    assert float(loss.total.detach()) == pytest.approx(2 * expected)
    loss.total.backward()
    torch.testing.assert_close(predictions.grad, 2 * 2 * (0.5 - true) / 4)
    assert logits.grad is None or not logits.grad.any()


def test_iou_is_of_the_image_alone() -> None:
    target, valid = grid("##..", "...."), grid("###.", "###.")
    logits = SURE * (2 * grid("##.#", "...#") - 1)
    assert float(mask_iou(logits, target, valid)) == 1
    assert float(mask_iou(-SURE + 0 * logits, 0 * target, valid)) == 0  # nothing and nothing


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_stay_finite(size: float, dtype: torch.dtype) -> None:
    logits, predictions, targets, valid = random_case()
    extreme = (size * logits.sign()).to(dtype).requires_grad_()
    loss = promptable_loss(extreme, predictions, targets, valid, LossWeights(focal=20))
    assert torch.isfinite(loss.total)
    loss.total.backward()
    assert extreme.grad is not None and torch.isfinite(extreme.grad).all()
