"""Ops over whole axes: softmax, norms, reductions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from coreml_evaluator.arguments import Arguments, Op


def softmax(a: Arguments) -> Tensor:
    return a.tensor("x").softmax(dim=a.int("axis", -1))


def batch_norm(a: Arguments) -> Tensor:
    return F.batch_norm(
        a.tensor("x"),
        a.tensor("mean"),
        a.tensor("variance"),
        a.optional("gamma"),
        a.optional("beta"),
        training=False,
        eps=a.number("epsilon", 1e-5),
    )


def layer_norm(a: Arguments) -> Tensor:
    x = a.tensor("x")
    axes = sorted(axis % x.ndim for axis in a.ints("axes", range(x.ndim)))
    gamma, beta, epsilon = a.optional("gamma"), a.optional("beta"), a.number("epsilon", 1e-5)
    if axes == list(range(x.ndim - len(axes), x.ndim)):
        return F.layer_norm(x, [x.shape[axis] for axis in axes], gamma, beta, epsilon)
    shape = [side if axis in axes else 1 for axis, side in enumerate(x.shape)]
    centred = x - x.mean(axes, keepdim=True)
    result = centred / (centred.square().mean(axes, keepdim=True) + epsilon).sqrt()
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


def instance_norm(a: Arguments) -> Tensor:
    return F.instance_norm(
        a.tensor("x"),
        weight=a.optional("gamma"),
        bias=a.optional("beta"),
        eps=a.number("epsilon", 1e-5),
    )


def reduction(function: Callable[[Tensor, list[int], bool], Tensor], *, exact: bool = False) -> Op:
    """An op over ``axes`` (all of them when absent), of tensor, axes and ``keep_dims``."""

    def evaluate(a: Arguments) -> Tensor:
        x = a.tensor("x")
        reduced = function(x, a.ints("axes", range(x.ndim)), a.bool("keep_dims", False))
        return reduced.to(x.dtype)  # PyTorch adds up integers in a wider type

    return Op(evaluate, exact)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


OPS = {
    "batch_norm": Op(batch_norm),
    "instance_norm": Op(instance_norm),
    "layer_norm": Op(layer_norm),
    "reduce_l1_norm": reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "reduce_l2_norm": reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "reduce_log_sum_exp": reduction(lambda x, axes, keep: torch.logsumexp(x, axes, keep)),
    "reduce_max": reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep), exact=True),
    "reduce_mean": reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "reduce_min": reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep), exact=True),
    "reduce_prod": reduction(_product),
    "reduce_sum": reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "reduce_sum_square": reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "softmax": Op(softmax),
}
