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
1.94.
"""

from typing import cast

import torch
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.transformer import Attention, TwoWayBlock

MOST_SLOTS = 14
"""Up to which a prompt takes fewer multiplications than as written."""


class ShortMaskDecoder(MaskDecoder):
    """A mask decoder that computes what another does, of the same parameters and names, one prompt
    at a time.

    Args:
        decoder: whose layers it takes over; but for those of the upscaling they are shared.
    """

    heads: Tensor

    def __init__(self, decoder: MaskDecoder) -> None:
        nn.Module.__init__(self)
        self.num_masks = decoder.num_masks
        for name, child in decoder.named_children():
            setattr(self, name, child)
        self.output_upscaling = _per_cell(decoder.output_upscaling)
        attention = self._blocks()[0].cross_attn_token_to_image
        self.register_buffer("heads", _channels_of_heads(attention))
        self.train(decoder.training)

    def forward(
        self,
        image_embeddings: Tensor,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        sparse_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode; arguments and result as of :class:`MaskDecoder`, with a batch of one."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).unsqueeze(0)
        count = own.shape[1]
        positions = torch.cat([own, sparse], dim=1)
        bias = None
        if sparse_bias is not None:
            visible = sparse_bias.new_zeros(1, count)
            bias = torch.cat([visible, sparse_bias], dim=1).reshape(1, 1, 1, -1)
        image = image_embeddings + dense
        height, width = image.shape[2:]
        image = image.flatten(2).transpose(1, 2)
        image_position = image_position.flatten(2).transpose(1, 2)

        tokens, placed_image = positions, image + image_position
        for block in self._blocks():
            tokens = block.norm1(_among_themselves(block, tokens, positions, bias))
            looking, telling = block.cross_attn_token_to_image, block.cross_attn_image_to_token
            seen = self._look(looking, tokens + positions, placed_image, image)
            tokens = block.norm2(tokens + seen)
            tokens = block.norm3(tokens + block.mlp(tokens))
            told = self._tell(telling, placed_image, tokens + positions, tokens, bias)
            image = block.norm4(image + told)
            placed_image = image + image_position
        tokens, positions = tokens[:, :count], positions[:, :count]
        last = self.transformer.final_attn_token_to_image
        seen = self._look(last, tokens + positions, placed_image, image)
        tokens = self.transformer.norm_final_attn(tokens + seen)

        weights = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        masks = self._masks(image, weights, height, width)
        return masks, self.iou_prediction_head(tokens[:, 0])

    def _blocks(self) -> list[TwoWayBlock]:
        return cast(list[TwoWayBlock], list(self.transformer.layers))

    def _look(
        self, attention: Attention, tokens: Tensor, placed_image: Tensor, image: Tensor
    ) -> Tensor:
        """What tokens 1xMxC see in the image 1xNxC, 1xMxC."""
        queries = self._row_a_head(attention.q_proj(tokens) * attention.scale)
        scores = _scores(attention.k_proj, queries, placed_image)
        mean = torch.bmm(scores.transpose(1, 2).softmax(dim=-1), image)
        # A weighted mean's value is the weighted mean of values, bias included.
        values = attention.v_proj(mean)
        heads, inner = attention.num_heads, values.shape[2]
        values = values.reshape(1, heads, -1, inner)
        width = inner // heads
        own = [values[:, head, :, head * width : (head + 1) * width] for head in range(heads)]
        return cast(Tensor, attention.out_proj(torch.cat(own, dim=-1)))

    def _tell(
        self,
        attention: Attention,
        placed_image: Tensor,
        placed_tokens: Tensor,
        tokens: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """What tokens 1xMxC tell the image 1xNxC, 1xNxC; the bias is of scores, 1x1x1xM."""
        heads = attention.num_heads
        keys = self._row_a_head(attention.k_proj(placed_tokens) * attention.scale)
        hidden = None
        if bias is not None:
            hidden = bias.reshape(1, 1, -1).expand(1, heads, -1).reshape(1, 1, -1)
        scores = _scores(attention.q_proj, keys, placed_image, hidden)
        cells = scores.shape[1]
        weights = scores.reshape(cells, heads, -1).softmax(dim=-1).reshape(1, cells, -1)
        # A cell's weights add up to the number of heads: so often the bias would be counted.
        values = self._row_a_head(attention.v_proj(tokens) * heads)
        return torch.bmm(weights, attention.out_proj(values) * (1 / heads))

    def _row_a_head(self, x: Tensor) -> Tensor:
        """1xMxD to 1x(heads M)xD, the rows of the first head first, zero where another's are."""
        return (x.unsqueeze(1) * self.heads).reshape(1, -1, x.shape[2])

    def _masks(self, image: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
        """Cells 1xHWxC and a row of weights for each mask, to 1xmasksx4Hx4W."""
        first, norm, gelu, second, _ = self.output_upscaling
        cells, masks = height * width, weights.shape[1]
        x = gelu(norm(first(image).reshape(1, 4 * cells, -1)))
        x = gelu(second(x).reshape(1, 16 * cells, -1))
        logits = torch.bmm(x, weights.transpose(1, 2)).transpose(1, 2)
        # Of each cell 2 x 2 pixels of 2 x 2: first their rows together, then all rows of a line.
        logits = logits.reshape(2 * masks * cells, 2, 2, 2).transpose(1, 2)
        logits = logits.reshape(masks * height, width, 4, 4).transpose(1, 2)
        return logits.reshape(1, masks, 4 * height, 4 * width)


def _scores(
    projection: nn.Linear, rows: Tensor, cells: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Products of rows 1xRxD with the projections of cells 1xNxC, which are not made: 1xNxR.

    Args:
        bias: added, 1x1xR.
    """
    constant = torch.bmm(rows, projection.bias.reshape(1, -1, 1)).reshape(1, 1, -1)
    if bias is not None:
        constant = constant + bias
    projected = torch.bmm(rows, projection.weight.unsqueeze(0))
    return torch.bmm(cells, projected.transpose(1, 2)) + constant


def _among_themselves(
    block: TwoWayBlock, tokens: Tensor, positions: Tensor, bias: Tensor | None
) -> Tensor:
    """Self-attention of the tokens, 1xMxC, before its norm."""
    if block.first:
        return cast(Tensor, block.self_attn(tokens, tokens, tokens, bias))
    placed = tokens + positions
    return tokens + cast(Tensor, block.self_attn(placed, placed, tokens, bias))


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
