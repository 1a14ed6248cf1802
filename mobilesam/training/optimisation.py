"""Optimizers, learning rate, averaged weights and batch norm of a training run."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mobilesam.model.layers import WithTables

_BETAS = (0.9, 0.98)


class Optimizers:
    """AdamW, or Muon for matrices and AdamW for the rest, behind one face.

    Weight decay applies to matrices and kernels, not to norms, biases, embeddings and tables of
    positions. Muon: Jordan et al. 2024, as :class:`torch.optim.Muon` has it, its step scaled to the
    size of AdamW's so that one learning rate serves both.

    Args:
        module: whose parameters to train.
        kind: ``adamw`` or ``muon``.
        weight_decay: decoupled.
    """

    def __init__(self, module: nn.Module, kind: str, weight_decay: float) -> None:
        matrices: list[Tensor] = []
        kernels: list[Tensor] = []
        others: list[Tensor] = []
        undecayed = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
        for part in module.modules():
            if isinstance(part, WithTables):
                undecayed |= {id(part.get_parameter(name)) for name in part.TABLES}
        for parameter in module.parameters():
            if not parameter.requires_grad:
                continue
            if parameter.ndim < 2 or id(parameter) in undecayed:
                others.append(parameter)
            elif parameter.ndim == 2:
                matrices.append(parameter)
            else:
                kernels.append(parameter)
        self._all: list[Optimizer] = []
        if kind == "muon" and matrices:
            self._all.append(
                Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            )
        else:
            kernels += matrices
        groups = [
            {"params": kernels, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._all.append(AdamW([g for g in groups if g["params"]], betas=_BETAS, fused=True))
        self.parameters = matrices + kernels + others if kind == "muon" else kernels + others

    def step(self, lr: float, clip_grad_norm: float) -> float:
        """Clip the gradient, take a step, forget the gradient; returns the norm before clipping."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, clip_grad_norm))
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = lr
            if math.isfinite(norm):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict[str, Any]]:
        """State of every optimizer."""
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: Iterable[dict[str, Any]]) -> None:
        """Take up a state."""
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def learning_rate(step: int, steps: int, peak: float, end: float, warmup: int) -> float:
    """Linear warm-up to ``peak``, then a cosine down to ``end``, reached as ``steps`` ends."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * share))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a model's parameters and buffers."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def freeze_batch_norm(model: nn.Module) -> None:
    """Let batch norms use their running statistics, and leave them as they are."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def estimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the statistics of every batch norm anew, in place, as means over batches of images.

    Averaged weights need it: statistics that were averaged along with them belong to weights from
    before, and to the image sizes that those saw.

    Args:
        model: takes a batch of images; its parameters, and the mode of its modules, stay.
        batches: images, each batch weighing the same.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches, not a moving one
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm, (mode, momentum) in zip(norms, before, strict=True):
        norm.train(mode)
        norm.momentum = momentum


def channels_last(module: nn.Module) -> nn.Module:
    """The module, its convolution kernels laid out channels-last, in place."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def device_of_choice() -> torch.device:
    """The accelerator if PyTorch sees a CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
