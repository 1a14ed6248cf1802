"""Ops that multiply and accumulate."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import IMAGE, Case, X, floats, halves

W3 = floats(5, 4, 3, 3)
BIAS = floats(5)
DEPTHWISE = floats(4, 1, 3, 3)
UP = floats(4, 6, 2, 2)
tW3, tBIAS, tDEPTHWISE, tUP = map(torch.from_numpy, (W3, BIAS, DEPTHWISE, UP))


def conv(expected: Callable[..., Any], weight: np.ndarray, **options: Any) -> Case:
    return Case("conv", lambda v: mb.conv(x=v, weight=weight, **options), [IMAGE], expected)


CASES = [
    conv(lambda v: F.conv2d(v, tW3, tBIAS), W3, bias=BIAS),
    conv(lambda v: F.conv2d(v, tW3, stride=2, padding=1), W3,
         pad_type="custom", pad=[1, 1, 1, 1], strides=[2, 2]),
    conv(lambda v: F.conv2d(F.pad(v, (2, 0, 0, 1)), tW3, dilation=2), W3,
         pad_type="custom", pad=[0, 1, 2, 0], dilations=[2, 2]),
    conv(lambda v: F.conv2d(v, tDEPTHWISE, groups=4, padding=1), DEPTHWISE,
         pad_type="same", groups=4),
    # Height 7 takes one row each side, width 6 a single column, at the right or at the left.
    conv(lambda v: F.conv2d(F.pad(v, (0, 1, 1, 1)), tW3, stride=2), W3,
         pad_type="same", strides=[2, 2]),
    conv(lambda v: F.conv2d(F.pad(v, (1, 0, 1, 1)), tW3, stride=2), W3,
         pad_type="same_lower", strides=[2, 2]),
    Case("conv", lambda v: mb.conv(x=v, weight=W3[..., 0], pad_type="valid"), [floats(1, 4, 9)],
         lambda v: F.conv1d(v, tW3[..., 0])),
    Case("conv", lambda v: mb.conv(x=v, weight=W3[..., 0], pad_type="custom", pad=[2, 1],
                                   strides=[2], dilations=[2]), [floats(2, 4, 9)],
         lambda v: F.conv1d(F.pad(v, (2, 1)), tW3[..., 0], stride=2, dilation=2), 17),
    Case("conv", lambda v: mb.conv(x=v, weight=W3[:4, :2, None].copy(), groups=2,
                                   pad_type="custom", pad=[0, 0, 1, 1, 1, 1]),
         [floats(1, 4, 2, 5, 4)],
         lambda v: F.conv3d(v, tW3[:4, :2, None], groups=2, padding=(0, 1, 1))),
    Case("conv", lambda v, w: mb.conv(x=v, weight=w, pad_type="valid"), [IMAGE, W3], F.conv2d, 17),
    Case("conv", lambda v: mb.conv(x=v, weight=W3.astype(np.float16), pad_type="valid"),
         [halves(1, 4, 5, 5)], lambda v: F.conv2d(v.float(), tW3.half().float()).half(), 18),
    Case("conv_transpose", lambda v: mb.conv_transpose(
        x=v, weight=UP, bias=floats(6) * 0 + 2, strides=[2, 2], output_shape=[1, 6, 14, 12]),
         [IMAGE], lambda v: F.conv_transpose2d(v, tUP, torch.full((6,), 2.0), stride=2)),
    Case("conv_transpose", lambda v: mb.conv_transpose(
        x=v, weight=W3[:4].copy(), pad_type="custom", pad=[1, 0, 0, 2], strides=[3, 2]),
         [IMAGE], lambda v: F.conv_transpose2d(v, tW3[:4], stride=(3, 2))[:, :, 1:, :-2]),
    Case("conv_transpose", lambda v: mb.conv_transpose(x=v, weight=DEPTHWISE, groups=4),
         [IMAGE], lambda v: F.conv_transpose2d(v, tDEPTHWISE, groups=4)),
    Case("conv_transpose", lambda v: mb.conv_transpose(x=v, weight=W3[:4].copy(), strides=[2, 1],
                                                       dilations=[1, 2]),
         [IMAGE], lambda v: F.conv_transpose2d(v, tW3[:4], stride=(2, 1), dilation=(1, 2)), 17),
    Case("conv_transpose", lambda v: mb.conv_transpose(
        x=v, weight=UP[..., 0].copy(), strides=[2], pad_type="custom", pad=[1, 1]),
         [floats(2, 4, 5)], lambda v: F.conv_transpose1d(v, tUP[..., 0], stride=2, padding=1)),
    Case("einsum", lambda a, b: mb.einsum(values=[a, b], equation="nchw,nwhu->nchu"),
         [floats(1, 2, 3, 4), floats(1, 4, 3, 5)],
         lambda a, b: torch.einsum("nchw,nwhu->nchu", a, b)),
    Case("linear", lambda v: mb.linear(x=v, weight=W3[:, :, 0, 0].copy(), bias=BIAS), [X],
         lambda v: F.linear(v, tW3[:, :, 0, 0], tBIAS)),
    Case("linear", lambda v: mb.linear(x=v, weight=W3[:, :, 0, 0].copy()), [X],
         lambda v: F.linear(v, tW3[:, :, 0, 0])),
    Case("linear", lambda v: mb.linear(x=v, weight=W3[:, :, 0, 0].astype(np.float16)),
         [halves(3, 4)], lambda v: F.linear(v.float(), tW3[:, :, 0, 0].half().float()).half(), 17),
    Case("matmul", lambda a, b: mb.matmul(x=a, y=b), [X, floats(5, 1, 4, 2)], torch.matmul),
    Case("matmul", lambda a, b: mb.matmul(x=a, y=b, transpose_x=True, transpose_y=True),
         [X, floats(2, 5, 3)], lambda a, b: a.mT @ b.mT),
    Case("matmul", lambda a, b: mb.matmul(x=a, y=b, transpose_y=True),
         [floats(2, 1, 3, 4), floats(4, 5, 4)], lambda a, b: a @ b.mT, 17),
    Case("scaled_dot_product_attention",
         lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
         [floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 6)],
         F.scaled_dot_product_attention, 18),
    Case("scaled_dot_product_attention",
         lambda q, k, m: mb.scaled_dot_product_attention(query=q, key=k, value=k, attn_mask=m),
         [floats(2, 3, 4), floats(2, 5, 4), floats(3, 5)],
         lambda q, k, m: F.scaled_dot_product_attention(q, k, k, m), 18),
    Case("scaled_dot_product_attention",
         lambda q, k, m: mb.scaled_dot_product_attention(
             query=q, key=k, value=k, attn_mask=mb.greater(x=m, y=np.float32(-1))),
         [floats(2, 3, 4), floats(2, 5, 4), floats(3, 5)],
         lambda q, k, m: (q @ k.mT / 2).masked_fill(m <= -1, -torch.inf).softmax(-1) @ k, 18,
         ours=True),
]  # fmt: skip
