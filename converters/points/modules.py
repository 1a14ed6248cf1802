"""The decoder for single clicks as four graphs, in the arithmetic of the fast decoder.

What all clicks have in common is computed once for a photo (:class:`PrepareModule`), predicted IoUs
without the masks (:class:`AttendModule`), and masks only of clicks whose IoU is good
(:class:`WeighModule`) and where the photo lies (:class:`UpscaleModule`). The sums are those of
:mod:`mobilesam.model.fast_decoder`, written with operations that every runtime has.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.fast_decoder import Upscaling
from mobilesam.model.few_tokens import last_look, look, per_head, position_keys
from mobilesam.model.point_labels import FOREGROUND, PADDING_POINT
from mobilesam.model.sam import MobileSAM
from mobilesam.model.transformer import Attention, TwoWayBlock

Prepared = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class PrepareModule(nn.Module):
    """Once for a photo: the image's cells, and what the first block makes of them."""

    position: Tensor

    def __init__(self, model: MobileSAM) -> None:
        super().__init__()
        self.no_mask = model.prompt_encoder.no_mask_embed
        self.block = cast(TwoWayBlock, model.mask_decoder.transformer.layers[0])
        self.register_buffer("position", image_position(model))

    def forward(self, image_embeddings: Tensor) -> Prepared:
        """1xCxHxW to the cells.

        Returns:
            Image and placed image, NxC; keys headsxDxN, values headsxNxD and queries headsxDxN.
        """
        image = image_embeddings.flatten(2)[0].t() + self.no_mask.weight
        placed = image + self.position
        looking, told = self.block.cross_attn_token_to_image, self.block.cross_attn_image_to_token
        keys = per_head(looking, looking.k_proj(placed)).permute(1, 2, 0)
        values = per_head(looking, looking.v_proj(image)).transpose(0, 1)
        queries = per_head(told, told.q_proj(placed)).permute(1, 2, 0)
        return image, placed, keys, values, queries


class AttendModule(nn.Module):
    """One click: the transformer's blocks and the predicted IoUs."""

    position: Tensor
    position_keys: Tensor
    labels: Tensor

    def __init__(self, model: MobileSAM) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.decoder = model.mask_decoder
        self.register_buffer("position", image_position(model))
        self.register_buffer("position_keys", last_position_keys(model))
        self.register_buffer("labels", torch.tensor([[float(FOREGROUND), float(PADDING_POINT)]]))

    def forward(
        self,
        image: Tensor,
        placed_image: Tensor,
        keys: Tensor,
        values: Tensor,
        queries: Tensor,
        point_coords: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What :class:`PrepareModule` gives and [1, 1, 2] to [4], tokens, positions and image."""
        coords = torch.cat([point_coords, torch.zeros_like(point_coords)], dim=1)
        sparse = self.prompt_encoder.embed_points(coords, self.labels)[0]
        own = [self.decoder.iou_token.weight, self.decoder.mask_tokens.weight]
        positions = torch.cat([*own, sparse])
        tokens = positions
        blocks = cast(list[TwoWayBlock], list(self.decoder.transformer.layers))
        for index, block in enumerate(blocks):
            tokens = _among_themselves(block, tokens, positions)
            looking, told = block.cross_attn_token_to_image, block.cross_attn_image_to_token
            placed = tokens + positions
            if index == 0:
                scaled = per_head(looking, looking.q_proj(placed) * looking.scale).transpose(0, 1)
                seen = ((scaled @ keys).softmax(dim=-1) @ values).transpose(0, 1)
                seen = looking.out_proj(seen.flatten(1))
            else:
                seen = look(looking, placed, placed_image, image)
            tokens = block.norm2(tokens + seen)
            tokens = block.norm3(tokens + block.mlp(tokens))
            token_keys = per_head(told, told.k_proj(tokens + positions) * told.scale)
            token_keys = token_keys[:-1] - token_keys[-1:]
            if index == 0:
                scores = (token_keys.transpose(0, 1) @ queries).transpose(0, 1)
            else:
                scores = _scores(told, token_keys, placed_image)
            image = block.norm4(_told(told, tokens, scores, image))
            if block is not blocks[-1]:
                placed_image = image + self.position
        transformer = self.decoder.transformer
        iou_token = last_look(transformer, tokens[:1], positions[:1], image, self.position_keys)
        return self.decoder.iou_prediction_head(iou_token)[0], tokens, positions, image


class WeighModule(nn.Module):
    """One click after :class:`AttendModule`: how its three masks weigh a pixel's channels."""

    position_keys: Tensor

    def __init__(self, model: MobileSAM) -> None:
        super().__init__()
        self.transformer = model.mask_decoder.transformer
        self.networks = model.mask_decoder.output_hypernetworks_mlps
        self.register_buffer("position_keys", last_position_keys(model))

    def forward(self, tokens: Tensor, positions: Tensor, image: Tensor) -> Tensor:
        """To [3, C/8]."""
        given = tokens[2:5], positions[2:5], image, self.position_keys
        own = last_look(self.transformer, *given)
        return torch.cat([self.networks[1 + i](own[i : i + 1]) for i in range(3)])


class UpscaleModule(nn.Module):
    """Some of the image's cells after :class:`AttendModule`: three masks there."""

    def __init__(self, model: MobileSAM) -> None:
        super().__init__()
        upscaling = Upscaling(model.mask_decoder.output_upscaling)
        self.norm = nn.LayerNorm(len(upscaling.norm.weight), eps=upscaling.norm.eps)
        self.norm.weight, self.norm.bias = upscaling.norm.weight, upscaling.norm.bias
        for number, (weight, bias) in enumerate((upscaling.first, upscaling.second), start=1):
            self.register_buffer(f"weight{number}", weight)
            self.register_buffer(f"bias{number}", bias)

    def forward(self, cells: Tensor, weights: Tensor) -> Tensor:
        """nxC and [3, C/8] to logits [3, 16n].

        They are in the order that :func:`mobilesam.model.fast_decoder.in_rows` takes.
        """
        x = torch.addmm(self.get_buffer("bias1"), cells, self.get_buffer("weight1"))
        x = F.gelu(self.norm(x.reshape(-1, self.norm.normalized_shape[0])))
        x = torch.addmm(self.get_buffer("bias2"), x, self.get_buffer("weight2"))
        return weights @ F.gelu(x.reshape(-1, weights.shape[1])).t()


def image_position(model: MobileSAM) -> Tensor:
    """Position of the image's cells, NxC."""
    return model.prompt_encoder.image_position().flatten(2)[0].t().contiguous()


def last_position_keys(model: MobileSAM) -> Tensor:
    """What that position adds to the keys of the transformer's last attention."""
    attention = model.mask_decoder.transformer.final_attn_token_to_image
    return position_keys(attention, image_position(model)).detach()


def _among_themselves(block: TwoWayBlock, tokens: Tensor, positions: Tensor) -> Tensor:
    own, placed = tokens.unsqueeze(0), (tokens + positions).unsqueeze(0)
    if block.first:
        result: Tensor = block.norm1(block.self_attn(own, own, own))[0]
    else:
        result = block.norm1(own + block.self_attn(placed, placed, own))[0]
    return result


def _scores(attention: Attention, keys: Tensor, placed_image: Tensor) -> Tensor:
    """Scores Mxheadsx N of cells NxC with token keys MxheadsxD."""
    weight = attention.q_proj.weight.unflatten(0, (attention.num_heads, -1))
    own = (keys.transpose(0, 1) @ weight).transpose(0, 1).flatten(0, 1)
    constant = (keys * per_head(attention, attention.q_proj.bias)).sum(dim=-1).reshape(-1, 1)
    scores = torch.addmm(constant, own, placed_image.t())
    return scores.unflatten(0, (-1, attention.num_heads))


def _told(attention: Attention, tokens: Tensor, scores: Tensor, image: Tensor) -> Tensor:
    """The image NxC with what M tokens tell it.

    The weights of a cell and head add up to one: the last token's score is taken off the others',
    whose scores are (M-1)xheadsxN, and its part is a constant.
    """
    values = per_head(attention, attention.v_proj(tokens)).transpose(0, 1)
    out = per_head(attention, attention.out_proj.weight).permute(1, 2, 0)
    parts = (values @ out).transpose(0, 1)
    constant = parts[-1].sum(dim=0, keepdim=True) + attention.out_proj.bias
    parts = torch.cat([(parts[:-1] - parts[-1:]).flatten(0, 1), constant])
    # Not softmax, which ONNX Runtime computes slowly along any but the last axis.
    highest = scores.amax(dim=0, keepdim=True).relu()
    powers = (scores - highest).exp()
    weights = powers / (powers.sum(dim=0, keepdim=True) + (-highest).exp())
    weights = torch.cat([weights.flatten(0, 1), torch.ones_like(scores[0, :1])])
    return torch.addmm(image, weights.t(), parts)
