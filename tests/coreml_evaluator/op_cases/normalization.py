"""Ops over whole axes: softmax, norms, reductions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import IMAGE, Case, X, floats, halves, ints

GAMMA, BETA = floats(4), floats(4)
tGAMMA, tBETA = torch.from_numpy(GAMMA), torch.from_numpy(BETA)


def reduced(op: str, expected: Callable[..., Any], ours: bool = False) -> list[Case]:
    reduce = getattr(mb, op)
    return [
        Case(op, lambda v: reduce(x=v, axes=[0, -1], keep_dims=True), [X],
             lambda v: expected(v, (0, -1), True), ours=ours),
        Case(op, lambda v: reduce(x=v, axes=[1], keep_dims=False), [X],
             lambda v: expected(v, (1,), False), 17, ours=ours),
    ]  # fmt: skip


CASES = [
    Case("batch_norm", lambda v: mb.batch_norm(
        x=v, mean=BETA, variance=GAMMA**2, gamma=GAMMA, beta=BETA, epsilon=1e-3), [IMAGE],
         lambda v: F.batch_norm(v, tBETA, tGAMMA**2, tGAMMA, tBETA, eps=1e-3)),
    Case("batch_norm", lambda v: mb.batch_norm(x=v, mean=BETA, variance=GAMMA**2), [IMAGE],
         lambda v: F.batch_norm(v, tBETA, tGAMMA**2)),
    Case("batch_norm", lambda v: mb.batch_norm(x=v, mean=BETA, variance=GAMMA**2, beta=BETA,
                                               gamma=GAMMA), [floats(2, 4, 3)],
         lambda v: F.batch_norm(v, tBETA, tGAMMA**2, tGAMMA, tBETA), 17),
    Case("instance_norm", lambda v: mb.instance_norm(x=v, gamma=GAMMA, beta=BETA, epsilon=1e-3),
         [IMAGE], lambda v: F.instance_norm(v, weight=tGAMMA, bias=tBETA, eps=1e-3)),
    Case("layer_norm", lambda v: mb.layer_norm(x=v, axes=[-1], gamma=GAMMA, beta=BETA), [X],
         lambda v: F.layer_norm(v, (4,), tGAMMA, tBETA)),
    Case("layer_norm", lambda v: mb.layer_norm(
        x=v, axes=[-1], gamma=GAMMA.astype(np.float16), beta=BETA.astype(np.float16),
        epsilon=np.float16(1e-3)), [halves(2, 3, 4)],
         lambda v: F.layer_norm(v, (4,), tGAMMA.half(), tBETA.half(), 1e-3), 17),
    Case("layer_norm", lambda v: mb.layer_norm(
        x=v, axes=[1], gamma=GAMMA, beta=BETA, epsilon=1e-2), [IMAGE],
         lambda v: F.layer_norm(v.transpose(1, -1), (4,), tGAMMA, tBETA, 1e-2).transpose(1, -1)),
    Case("layer_norm", lambda v: mb.layer_norm(x=v, axes=[1, 2]), [X],
         lambda v: F.layer_norm(v, (3, 4))),
    Case("layer_norm", lambda v: mb.layer_norm(x=v, axes=[-2, 0]), [X],
         lambda v: F.layer_norm(v.permute(2, 0, 1), (2, 3)).permute(1, 2, 0)),
    *reduced("reduce_l1_norm", lambda v, d, k: torch.linalg.vector_norm(v, 1, d, k)),
    *reduced("reduce_l2_norm", lambda v, d, k: torch.linalg.vector_norm(v, 2, d, k)),
    *reduced("reduce_log_sum_exp", torch.logsumexp),
    *reduced("reduce_max", torch.amax),
    *reduced("reduce_mean", torch.mean),
    *reduced("reduce_min", torch.amin),
    *reduced("reduce_prod", lambda v, d, k: torch.from_numpy(v.numpy().prod(d, keepdims=k)), True),
    *reduced("reduce_sum", torch.sum),
    *reduced("reduce_sum_square", lambda v, d, k: torch.sum(torch.square(v), d, k)),
    Case("reduce_sum", lambda v: mb.reduce_sum(x=v, keep_dims=True), [X],
         lambda v: v.sum((0, 1, 2), True)),
    Case("reduce_sum", lambda v: mb.reduce_sum(x=v, axes=[0]), [ints(3, -5, 9)], torch.sum, 17),
    Case("reduce_max", lambda v: mb.reduce_max(x=v), [X], torch.amax),
    Case("softmax", lambda v: mb.softmax(x=v, axis=1), [X * 9], lambda v: v.softmax(1)),
    Case("softmax", lambda v: mb.softmax(x=v), [X], lambda v: v.softmax(-1)),
    Case("softmax", lambda v: mb.softmax(x=v, axis=-2), [halves(2, 3, 4)],
         lambda v: v.float().softmax(1).half(), 17),
]  # fmt: skip
