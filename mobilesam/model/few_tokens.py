"""Attention between a handful of tokens and thousands of image cells, in fewer multiplications.

Written as in :mod:`.transformer`, each cell is projected to a query, a key and a value. With M
tokens and W_k the projection to keys, ``q (W_k x)`` is also ``(q W_k) x``: the few tokens are
projected to the cells' width and the cells not at all. In the same way a weighted mean of values is
the value of a weighted mean. Both are exact, head by head.

Everything here is about one prompt: tokens are MxC, image cells NxC.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.model.transformer import Attention, TwoWayTransformer


def per_head(attention: Attention, x: Tensor) -> Tensor:
    """...xD, the width inside, to ...xheadsxD/heads."""
    return x.unflatten(-1, (attention.num_heads, -1))


def look(attention: Attention, tokens: Tensor, placed_image: Tensor, image: Tensor) -> Tensor:
    """What tokens see in the image: ``attention(tokens, placed_image, image)``.

    Args:
        attention: tokens to image.
        tokens: MxC, their position added.
        placed_image: NxC, the cells' position added.
        image: NxC.

    Returns:
        MxC.
    """
    queries = scaled_queries(attention, tokens)
    weights = (_queries_of_cells(attention, queries) @ placed_image.t()).softmax(dim=-1)
    return _seen(attention, weights, image)


def position_keys(attention: Attention, position: Tensor) -> Tensor:
    """What a position NxC adds to the keys of cells: headsxD/headsxN."""
    keys = F.linear(position, attention.k_proj.weight)
    return per_head(attention, keys).permute(1, 2, 0).contiguous()


def last_look(
    transformer: TwoWayTransformer, tokens: Tensor, positions: Tensor, image: Tensor, keys: Tensor
) -> Tensor:
    """The transformer's last attention and norm, for some of the tokens.

    Args:
        transformer: of the mask decoder.
        tokens: MxC, after the blocks. They no longer depend on each other.
        positions: MxC, theirs.
        image: NxC, after the blocks, without the cells' position.
        keys: what the cells' position adds to keys, by :func:`position_keys`.

    Returns:
        MxC.
    """
    attention = transformer.final_attn_token_to_image
    queries = scaled_queries(attention, tokens + positions)
    scores = _queries_of_cells(attention, queries) @ image.t()
    placed = (queries.transpose(0, 1) @ keys).flatten(0, 1)
    seen = _seen(attention, (scores + placed).softmax(dim=-1), image)
    result: Tensor = transformer.norm_final_attn(tokens + seen)
    return result


def _queries_of_cells(attention: Attention, queries: Tensor) -> Tensor:
    """Queries MxheadsxD/heads of keys as queries of cells, (heads M)xC."""
    to_keys = per_head(attention, attention.k_proj.weight.t())  # C x heads x D/heads
    # The keys' bias adds the same to all cells, which softmax does not see.
    return torch.einsum("mhd,chd->hmc", queries, to_keys).flatten(0, 1)


def _seen(attention: Attention, weights: Tensor, image: Tensor) -> Tensor:
    """What tokens see of the image NxC by their weights (heads M)xN: MxC."""
    mean = (weights @ image).unflatten(0, (attention.num_heads, -1))
    to_values = per_head(attention, attention.v_proj.weight.t())
    values = torch.einsum("hmc,chd->mhd", mean, to_values).flatten(1)
    seen: Tensor = attention.out_proj(values + attention.v_proj.bias)
    return seen


def scaled_queries(attention: Attention, tokens: Tensor) -> Tensor:
    """Queries MxheadsxD/heads of tokens MxC, with the scores' factor in them."""
    return per_head(attention, attention.q_proj(tokens) * attention.scale)


class Teller:
    """Image to tokens: each cell takes up something of every token.

    The weights of a cell and head add up to one. So the last token is what all others are compared
    with: its score is taken off theirs and is 0 itself, and its part is added as a constant.

    Args:
        attention: image to tokens.
        tokens: MxC.
        positions: MxC, of the tokens.
    """

    def __init__(self, attention: Attention, tokens: Tensor, positions: Tensor) -> None:
        self._attention = attention
        keys = per_head(attention, attention.k_proj(tokens + positions) * attention.scale)
        self.keys = keys[:-1] - keys[-1:]
        """(M-1)xheadsxD/heads, each less the last token's."""
        values = per_head(attention, attention.v_proj(tokens))
        out = per_head(attention, attention.out_proj.weight)
        parts = torch.einsum("mhd,chd->mhc", values, out)
        constant = parts[-1].sum(dim=0, keepdim=True) + attention.out_proj.bias
        self._parts = torch.cat([(parts[:-1] - parts[-1:]).flatten(0, 1), constant])

    def scores_of_queries(self, queries: Tensor) -> Tensor:
        """Scores of cells whose queries are known, headsxD/headsxN, for :meth:`tell`."""
        scores = self._empty_scores(queries.shape[-1], like=queries)
        rows = scores.unflatten(0, (-1, len(queries)))[:-1]
        torch.bmm(self.keys.transpose(0, 1), queries, out=rows.transpose(0, 1))
        return scores

    def scores_of_cells(self, placed_image: Tensor) -> Tensor:
        """Scores of cells NxC, their position added, for :meth:`tell`."""
        scores = self._empty_scores(len(placed_image), like=placed_image)
        to_queries = self._attention.q_proj
        weight = to_queries.weight.unflatten(0, (self._attention.num_heads, -1))
        keys = torch.einsum("mhd,hdc->mhc", self.keys, weight).flatten(0, 1)
        bias = per_head(self._attention, to_queries.bias)
        constant = torch.einsum("mhd,hd->mh", self.keys, bias).reshape(-1, 1)
        torch.addmm(constant, keys, placed_image.t(), out=scores[: len(keys)])
        return scores

    def tell(self, image: Tensor, scores: Tensor) -> Tensor:
        """The image NxC with what the tokens tell it, before the norm."""
        heads = self._attention.num_heads
        weights = scores.unflatten(0, (-1, heads)).softmax(dim=0).flatten(0, 1)
        compared = len(weights) - heads
        weights[compared] = 1.0  # the constant's; the last token's own weights are not needed
        return torch.addmm(image, weights[: compared + 1].t(), self._parts)

    def _empty_scores(self, cells: int, *, like: Tensor) -> Tensor:
        """(M heads)xN, the last token's rows 0 and the others' to be filled."""
        heads = self._attention.num_heads
        scores = like.new_empty((len(self.keys) + 1) * heads, cells)
        scores[-heads:] = 0.0
        return scores
