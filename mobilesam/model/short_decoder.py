"""The mask decoder in fewer multiplications, for the graphs that are exported: the same answers.

Written as in :mod:`.mask_decoder` every cell of the image is projected to queries, keys and values
in each attention. With few tokens that costs more than it must, see :mod:`.few_tokens`:
``q (W_k x)`` is also ``(q W_k) x``. Here this is done for all heads at once and without cutting a
weight, so that a file holds every weight as it is: each token has a row for each head, zero outside
of the head's channels.

The last attention is computed for the output tokens alone, which are all that is read, and the
upscaling's transposed convolutions, whose stride is their kernel, are linear layers of each cell.

With 8 point slots, which are 13 tokens, a prompt takes 1.45 GMAC (10**9 multiplications with their
additions) instead of 1.88, with 2 slots 1.02 instead of 1.83; with 16 it is more, 2.03 instead of
1.94. Where attention sums in steps (:attr:`.Attention.weigh`) 8 slots take 1.51.
"""

from typing import cast

import torch
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.transformer import Attention, TwoWayBlock

MOST_SLOTS = 14
"""Up to which a prompt takes fewer multiplications than as written."""

FEW = 8
"""Tokens up to which the image's weighted mean is made of all channels also where it is summed in
steps, which are passes over every head's. In LiteRT that took less time for 5, and more for 13."""


class ShortMaskDecoder(MaskDecoder):
    """A mask decoder that computes what another does, of the same parameters and names, one prompt
    at a time.

    Args:
        decoder: whose layers it takes over, and changes: not to be used any more.
    """

    def __init__(self, decoder: MaskDecoder) -> None:
        nn.Module.__init__(self)
        self.num_masks = decoder.num_masks
        for name, child in decoder.named_children():
            setattr(self, name, child)
        for block in cast(list[TwoWayBlock], self.transformer.layers):
            block.cross_attn_token_to_image = FewQueries(block.cross_attn_token_to_image)
            block.cross_attn_image_to_token = FewKeys(block.cross_attn_image_to_token)
        last = self.transformer.final_attn_token_to_image
        self.transformer.final_attn_token_to_image = FewQueries(last)
        self.transformer.read = 1 + self.num_masks
        self.output_upscaling = _per_cell(decoder.output_upscaling)
        self.train(decoder.training)

    def upscaled(self, image: Tensor, height: int, width: int) -> Tensor:
        """Cells 1xHWxC to rows of pixels 1x16HWxC/8, those of a cell one after the other."""
        first, norm, gelu, second, _ = self.output_upscaling
        cells = height * width
        x = gelu(norm(first(image).reshape(1, 4 * cells, -1)))
        return cast(Tensor, gelu(second(x).reshape(1, 16 * cells, -1)))

    def masks(self, pixels: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
        """Rows of pixels and a row of weights for each mask, to 1xmasksx4Hx4W."""
        masks = weights.shape[1]
        logits = torch.bmm(pixels, weights.transpose(1, 2))
        # Of each cell 2 x 2 pixels of 2 x 2: first their rows together, then all rows of a line.
        logits = logits.reshape(2 * height * width, 2, 2, 2 * masks).transpose(1, 2)
        logits = logits.reshape(height, width, 4, 4 * masks).transpose(1, 2)
        return logits.reshape(1, 4 * height, 4 * width, masks).permute(0, 3, 1, 2)


class _FewTokens(Attention):
    """Attention between an image and few tokens, of another's layers; a batch is one.

    Args:
        attention: whose layers it shares.
    """

    heads: Tensor

    def __init__(self, attention: Attention) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.weigh = attention.weigh
        for name, child in attention.named_children():
            setattr(self, name, child)
        self.register_buffer("heads", _channels_of_heads(attention))

    def row_a_head(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """1xMxD to 1x(heads M)xD, the rows of the first head first, zero where another's are."""
        # Not before: converters would multiply it into the layer's weights.
        return (x.unsqueeze(1) * (self.heads * scale)).reshape(1, -1, x.shape[2])


class FewQueries(_FewTokens):
    """Few tokens that look at an image."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None = None
    ) -> Tensor:
        """Tokens 1xMxC, the placed image 1xNxC and the image 1xNxC to 1xMxC; no bias."""
        assert key_bias is None
        tokens, cells = query.shape[1], value.shape[1]
        rows = self.row_a_head(self.q_proj(query), self.scale)
        weights = _scores(self.k_proj, rows, key).transpose(1, 2).softmax(dim=-1)
        if self.weigh is torch.matmul or tokens <= FEW:
            mean = self.weigh(weights.unsqueeze(1), value.unsqueeze(1)).squeeze(1)
            # A weighted mean's value is the weighted mean of values, bias included.
            values = self.v_proj(mean)
            seen = (values.reshape(1, self.num_heads, tokens, -1) * self.heads).sum(1)
        else:
            values = self.split_heads(self.v_proj(value))
            seen = self.weigh(weights.reshape(1, self.num_heads, tokens, cells), values)
            seen = seen.transpose(1, 2).reshape(1, tokens, -1)
        return cast(Tensor, self.out_proj(seen))


class FewKeys(_FewTokens):
    """An image that looks at few tokens."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None = None
    ) -> Tensor:
        """The placed image 1xNxC, placed tokens 1xMxC and tokens 1xMxC, with a bias of scores
        1x1x1xM, to 1xNxC."""
        heads, cells, tokens = self.num_heads, query.shape[1], value.shape[1]
        keys = self.row_a_head(self.k_proj(key), self.scale)
        scores = _scores(self.q_proj, keys, query, key_bias)
        weights = scores.reshape(cells, heads, tokens).softmax(dim=-1).reshape(1, cells, -1)
        told = self.row_a_head(self.v_proj(value)) @ self.out_proj.weight.t()
        # Of a cell's weights those of one head add up to one: the bias is in its rows alone.
        first = told[:, :tokens] + self.out_proj.bias
        return torch.bmm(weights, torch.cat([first, told[:, tokens:]], dim=1))


def _scores(
    projection: nn.Linear, rows: Tensor, cells: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Products of rows 1xRxD with the projections of cells 1xNxC, which are not made: 1xNxR.

    Args:
        bias: added to those of each head, 1x1x1xM.
    """
    constant = (rows @ projection.bias.unsqueeze(1)).reshape(1, 1, -1)
    if bias is not None:
        constant = (constant.reshape(1, -1, bias.shape[3]) + bias.squeeze(1)).reshape(1, 1, -1)
    projected = rows @ projection.weight
    return torch.bmm(cells, projected.transpose(1, 2)) + constant


def _channels_of_heads(attention: Attention) -> Tensor:
    """1 x heads x 1 x D, one where an inner channel is a head's and zero elsewhere."""
    width = attention.q_proj.out_features // attention.num_heads
    heads = torch.eye(attention.num_heads).repeat_interleave(width, dim=1)
    return heads.reshape(1, attention.num_heads, 1, -1)


def _per_cell(layers: nn.Sequential) -> nn.Sequential:
    """The upscaling as layers of rows, each of a cell, in place of images."""
    first, norm, gelu, second, last = layers
    assert isinstance(first, nn.ConvTranspose2d) and isinstance(second, nn.ConvTranspose2d)
    assert isinstance(norm, LayerNorm2d)
    rows = nn.LayerNorm(len(norm.weight), eps=norm.eps)
    rows.weight, rows.bias = norm.weight, norm.bias
    return nn.Sequential(_as_linear(first), rows, gelu, _as_linear(second), last)


def _as_linear(layer: nn.ConvTranspose2d) -> nn.Linear:
    """A transposed convolution of 2x2 with stride 2: to its four pixels, one after the other."""
    made = nn.Linear(layer.in_channels, 4 * layer.out_channels, device="meta")
    assert layer.bias is not None
    weight, bias = layer.weight.detach(), layer.bias.detach()
    made.weight = nn.Parameter(weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous())
    made.bias = nn.Parameter(bias.repeat(4))
    return made.requires_grad_(layer.weight.requires_grad)
