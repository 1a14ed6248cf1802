"""Geometry first: the decoder learns what clicks and boxes say about places, before any image.

On noise in place of image embeddings a box can only mean "about what fills it" and a click "around
here". Learnt by itself it takes minutes; together with an encoder whose embeddings mean nothing yet
it takes many times as long.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mobilesam.model.sam import MobileSAM
from mobilesam.training.config import LossWeights, TrainConfig
from mobilesam.training.initial import embedding_scale
from mobilesam.training.losses import promptable_loss
from mobilesam.training.optimisation import Optimizers, learning_rate
from mobilesam.training.promptable import decode
from mobilesam.training.prompts import first_prompts

_SIDES = (0.12, 0.95)  # of a box, as shares of the frame
_IMAGES = 8  # different noises in one step


def learn_geometry(model: MobileSAM, config: TrainConfig) -> Iterator[dict[str, float | int]]:
    """Train prompt encoder and mask decoder on ellipses and rectangles, one row a step.

    Args:
        model: at the image size of the first stage; its encoder is left alone.
        config: of the run.
    """
    model.image_encoder.requires_grad_(False)
    geometry = config.geometry
    optimizers = Optimizers(model, config.optimizer, config.weight_decay)
    scale = embedding_scale(model)
    assert scale is not None
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(config.seed)
    for step in range(geometry.steps):
        masks, boxes = _shapes(geometry.prompts, model.image_size, generator)
        prompts = first_prompts(masks.to(device), boxes.to(device), geometry.mix, 1, generator)
        noise = torch.randn(
            _IMAGES, model.channels, model.grid_size, model.grid_size, generator=generator
        )
        embeddings = noise.to(device) * scale
        rows = torch.arange(geometry.prompts, device=device) % _IMAGES
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            logits, predictions = decode(model, embeddings[rows], prompts, None)
        everywhere = torch.ones_like(masks).to(device)
        losses = promptable_loss(logits, predictions, masks.to(device), everywhere, LossWeights())
        losses.total.backward()
        lr = geometry.lr
        rate = learning_rate(step, geometry.steps, lr, 0.3 * lr, geometry.warmup)
        optimizers.step(rate, config.clip_grad_norm)
        iou = float(losses.ious[:, 0].mean())
        yield {"loss": float(losses.total.detach()), "iou_geometry": iou}
    model.image_encoder.requires_grad_(True)


def _shapes(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ellipses and rectangles: masks [count, S/4, S/4] of 0 and 1, and their boxes [count, 4]."""
    low, high = (torch.tensor(side).log() for side in _SIDES)
    spans = torch.exp(low + (high - low) * torch.rand(count, 2, generator=generator)) * size
    corners = torch.rand(count, 2, generator=generator) * (size - spans)
    middle = corners + spans / 2
    places = (torch.arange(size // 4) + 0.5) * 4
    x = (places[None, None, :] - middle[:, 0, None, None]) / (spans[:, 0, None, None] / 2)
    y = (places[None, :, None] - middle[:, 1, None, None]) / (spans[:, 1, None, None] / 2)
    round_ones = torch.rand(count, generator=generator) < 0.7
    masks = torch.where(round_ones[:, None, None], x**2 + y**2 < 1, (x.abs() < 1) & (y.abs() < 1))
    return masks.float(), torch.cat([corners, corners + spans], dim=1)
