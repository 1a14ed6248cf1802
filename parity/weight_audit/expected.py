"""What a file must hold: every parameter of the model, in the forms that converters write.

A converter may fold a batch norm into its convolution, or a layer norm's scale and bias into the
linear layer after it, and stack rows of small tables. Each such choice is a :class:`Unit` with its
alternatives. Everything is computed in float64 from the model's parameters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from mobilesam.bundle.contract import Component
from mobilesam.model.layers import ConvNorm, LayerNorm2d, WithTables
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.prompt_encoder import PromptEncoder
from mobilesam.model.sam import MobileSAM
from mobilesam.model.transformer import TwoWayTransformer
from parity.weight_audit.constants import half_ulp

UNIT_ROUNDOFF = 2.0**-24
"""Relative error of one float32 operation."""

HALF_ROUNDOFF = 2.0**-11
"""Relative error of one float16 operation."""

FOLDING = 32 * UNIT_ROUNDOFF
"""Allowed of a folded value, per unit of what was added up to make it: a few operations, and sums
of some hundred products whose rounding errors mostly cancel."""

EXACT = 4 * UNIT_ROUNDOFF
"""Allowed of a value that is only copied, for a detour by way of a product with one scale."""


@dataclass(frozen=True)
class Part:
    """One tensor that a file must hold.

    Attributes:
        name: of the tensor, after the parameter that gives most of it.
        parameters: names in the state dict that the tensor carries.
        values: float64, in PyTorch's layout, output channels first unless ``axis`` says otherwise.
        slack: broadcasts to ``values``: what float32 arithmetic may change.
        axis: of the output channels.
        module: path of the module that reads the tensor.
        half: broadcasts to ``values``: what folding changes where a converter does it in float16.
    """

    name: str
    parameters: tuple[str, ...]
    values: np.ndarray
    slack: np.ndarray
    axis: int
    module: str
    half: np.ndarray | float = 0.0


@dataclass(frozen=True)
class Unit:
    """Parameters that are stored together, in one of several forms.

    Attributes:
        parameters: names in the state dict, with the number of elements of each.
        forms: alternatives, each a complete set of parts.
    """

    parameters: dict[str, int]
    forms: tuple[tuple[Part, ...], ...]


@dataclass
class Expected:
    """What a component's file must hold, collected while the model is walked as it computes.

    Attributes:
        units: all of it.
        before: for each module with weights those whose results it needs, directly or not: in a
            file their operations come first, whatever else a converter may reorder.
    """

    model: nn.Module
    units: list[Unit] = field(default_factory=list)
    before: dict[str, frozenset[str]] = field(default_factory=dict)

    def follow(self, module: str, *sources: str) -> str:
        """Say what a module needs first; returns the module."""
        known = [self.before.get(source, frozenset()) | {source} for source in sources if source]
        self.before[module] = frozenset().union(*known)
        return module

    def get(self, name: str) -> np.ndarray:
        """A parameter or buffer in float64."""
        owner, _, own = name.rpartition(".")
        tensor = getattr(self.model.get_submodule(owner), own)
        return np.asarray(tensor.detach().cpu().numpy(), np.float64)

    def copied(self, name: str, values: np.ndarray | None = None, axis: int = 0) -> Part:
        """A parameter that is stored as it is, transposed or reshaped at most."""
        given = self.get(name) if values is None else values
        return Part(name, (name,), given, EXACT * np.abs(given), axis, name.rpartition(".")[0])

    def add(self, *forms: Sequence[Part], parameters: Sequence[str] = ()) -> None:
        """A unit; its parameters are those of its first form, unless they are given."""
        names = parameters or [name for part in forms[0] for name in part.parameters]
        sizes = {name: self.get(name).size for name in dict.fromkeys(names)}
        self.units.append(Unit(sizes, tuple(tuple(form) for form in forms)))

    def layer(self, path: str, *sources: str, axis: int = 0) -> str:
        """A linear layer, convolution or norm: weight, and bias where there is one."""
        weight = self.copied(f"{path}.weight", axis=axis)
        if getattr(self.model.get_submodule(path), "bias", None) is None:
            self.add([weight])
            return self.follow(path, *sources)
        norms = [each for each in sources if self._is_norm(each) and self._is_linear(path)]
        self.add([weight, self.copied(f"{path}.bias")], *(self._folded(path, n) for n in norms))
        return self.follow(path, *sources)

    def _is_norm(self, path: str) -> bool:
        return bool(path) and isinstance(self.model.get_submodule(path), nn.LayerNorm)

    def _is_linear(self, path: str) -> bool:
        return isinstance(self.model.get_submodule(path), nn.Linear)

    def _folded(self, path: str, norm: str) -> list[Part]:
        """A linear layer with a layer norm's scale and bias folded in, which others read too."""
        weight, bias = self.get(f"{path}.weight"), self.get(f"{path}.bias")
        scale, shift = self.get(f"{norm}.weight"), self.get(f"{norm}.bias")
        folded, moved = weight * scale, bias + weight @ shift
        size = np.abs(bias) + np.abs(weight) @ np.abs(shift)
        kernel = (f"{path}.weight", f"{norm}.weight")
        offset = (f"{path}.bias", f"{path}.weight", f"{norm}.bias")
        return [
            Part(f"{path}.weight × norm", kernel, folded, _folding(folded), 0, path),
            Part(f"{path}.bias + norm", offset, moved, FOLDING * size, 0, path),
        ]

    def conv_norm(self, path: str, *sources: str) -> str:
        """A convolution and its batch norm, folded."""
        norm = self.model.get_submodule(f"{path}.bn")
        assert isinstance(norm, nn.BatchNorm2d)
        names = [f"{path}.{end}" for end in ("c.weight", *(f"bn.{end}" for end in _BATCH_NORM))]
        weight, scale, bias, mean, variance = map(self.get, names)
        root = np.sqrt(variance + norm.eps)
        factor = scale / root
        folded, shift = weight * factor.reshape(-1, 1, 1, 1), bias - mean * factor
        size = np.abs(bias) + np.abs(mean * factor)
        # Each parameter is rounded to float16, and so is each step of the folding.
        off = (half_ulp(variance) + half_ulp(variance + norm.eps)) / (2 * root**2)
        off = half_ulp(scale) / root + (off + 3 * HALF_ROUNDOFF) * np.abs(factor)
        half = half_ulp(weight) * np.abs(factor).reshape(-1, 1, 1, 1)
        half = half + np.abs(weight) * off.reshape(-1, 1, 1, 1) + half_ulp(folded)
        half_shift = half_ulp(bias) + half_ulp(mean) * np.abs(factor) + np.abs(mean) * off
        half_shift = half_shift + half_ulp(mean * factor)
        kernel = (names[0], names[1], names[4])
        module = f"{path}.c"
        self.add(
            [
                Part(f"{path}.c.weight × bn", kernel, folded, _folding(folded), 0, module, half),
                Part(f"{path}.bn", tuple(names[1:]), shift, FOLDING * size, 0, module, half_shift),
            ],
            parameters=names,
        )
        return self.follow(module, *sources)

    def norm_and_linear(self, norm: str, linear: str, *sources: str) -> str:
        """A layer norm and the linear layer that alone reads it: apart, or the first folded."""
        scale, shift = self.get(f"{norm}.weight"), self.get(f"{norm}.bias")
        weight, bias = self.get(f"{linear}.weight"), self.get(f"{linear}.bias")
        names = [f"{path}.{end}" for path in (norm, linear) for end in ("weight", "bias")]
        folded, moved = weight * scale, bias + weight @ shift
        size = np.abs(bias) + np.abs(weight) @ np.abs(shift)
        kernel, offset = (names[2], names[0]), (names[3], names[0], names[1], names[2])
        self.add(
            [self.copied(name) for name in names],
            [
                Part(f"{linear}.weight × norm", kernel, folded, _folding(folded), 0, linear),
                Part(f"{linear}.bias + norm", offset, moved, FOLDING * size, 0, linear),
            ],
        )
        return self.follow(linear, self.follow(norm, *sources))


def _folding(values: np.ndarray) -> np.ndarray:
    return FOLDING * np.abs(values)


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def expected(model: MobileSAM, component: Component) -> Expected:
    """Everything of a component that acts on its answer.

    Args:
        model: in float32, with the image size of the bundle.
        component: ``encoder`` or ``decoder``.
    """
    found = Expected(model)
    if component == "encoder":
        _encoder(found, "image_encoder", model.grid_size)
    else:
        _mask_decoder(found, model.mask_decoder, _prompt_encoder(found, model.prompt_encoder))
    return found


def _encoder(found: Expected, path: str, side: int) -> None:
    """An image encoder of any variant, whose embedding grid is ``side`` cells wide.

    Encoders register their layers in the order in which they call them, and a layer norm before the
    linear layer that alone reads it.
    """
    layers: list[tuple[str, nn.Module]] = []
    tables: dict[str, str] = {}  # by the name of each: what is computed before it is read
    for name, module in found.model.get_submodule(path).named_modules(prefix=path):
        if isinstance(module, WithTables):
            tables |= {f"{name}.{own}": f"{name}.{after}" for own, after in module.TABLES.items()}
        if isinstance(module, _LAYERS) and not (layers and _is_within(name, layers[-1][0])):
            layers.append((name, module))
    last = norm = before = ""
    for name, module in layers:
        for table, after in list(tables.items()):
            if _is_within(before, after) and not _is_within(name, after):
                last = _table(found, table, side, before, last)
                del tables[table]
        if isinstance(module, ConvNorm):
            last = found.conv_norm(name, last)
        elif isinstance(module, nn.LayerNorm):
            norm = name
        elif norm:
            last, norm = found.norm_and_linear(norm, name, last), ""
        else:
            last = found.layer(name, last)
        before = name


_LAYERS = (ConvNorm, nn.LayerNorm, nn.Linear, nn.Conv2d, LayerNorm2d)


def _is_within(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")


def _table(found: Expected, name: str, side: int, before: str, last: str) -> str:
    """A table of positions, laid out; returns the module that reads it.

    Where it is added to what a convolution gives, a converter may add the bias to it beforehand.
    """
    path, _, own = name.rpartition(".")
    owner, layer = found.model.get_submodule(path), found.model.get_submodule(before)
    assert isinstance(owner, WithTables)
    values = owner.laid_out(own, side).detach().cpu().numpy().astype(np.float64)
    table = found.copied(name, values)
    if isinstance(layer, nn.Conv2d) and layer.bias is not None:
        weight, bias = found.copied(f"{before}.weight"), found.copied(f"{before}.bias")
        size = np.abs(values) + np.abs(bias.values)
        both = (name, f"{before}.bias")
        moved = Part(f"{name} + bias", both, values + bias.values, FOLDING * size, 0, path)
        del found.units[-1]  # the convolution's alone
        found.add([weight, bias, table], [weight, moved])
    else:
        found.add([table])
    return last if last == path else found.follow(path, last)


def _prompt_encoder(found: Expected, module: PromptEncoder) -> str:
    """Returns the last module that the dense map needs."""
    path = "prompt_encoder"
    points = range(len(module.point_embeddings))
    rows = [f"{path}.not_a_point_embed", *(f"{path}.point_embeddings.{i}" for i in points)]
    found.add(*_stacked(found, "the table of point labels", [f"{row}.weight" for row in rows]))
    last = ""
    for number, child in enumerate(module.mask_downscaling):
        if isinstance(child, nn.Conv2d | LayerNorm2d):
            last = found.layer(f"{path}.mask_downscaling.{number}", last)
    no_mask = f"{path}.no_mask_embed.weight"
    once = found.get(no_mask).reshape(-1, 1, 1)
    spread = np.broadcast_to(once, (len(once), module.grid_size, module.grid_size))
    found.add([found.copied(no_mask)], [found.copied(no_mask, spread)])
    _positions(found, module)
    return last


def _positions(found: Expected, module: PromptEncoder) -> None:
    """The matrix that encodes coordinates, and the encoding of the image's grid made of it."""
    name = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    turns = 2 * np.pi * found.get(name)
    reader = name.rpartition(".")[0]
    radians = Part(f"{name} in radians", (name,), turns, _folding(turns), 1, reader)
    # Of pixels, with the half pixel that SAM adds: 2 π (2 (x + 1/2) / S - 1).
    step = 2 / module.image_size
    scaled, start = turns * step, turns.sum(axis=0) * (step / 2 - 1)
    size = FOLDING * np.abs(turns).sum(axis=0)
    pixels = [
        Part(f"{name} of pixels", (name,), scaled, _folding(scaled), 1, reader),
        Part(f"{name} of pixel 0", (name,), start, size, 0, reader),
    ]
    found.add([found.copied(name, axis=1)], [radians], pixels)
    grid = module.grid_size
    centres = 2 * (np.arange(grid) + 0.5) / grid - 1
    phase = turns[0][:, None, None] * centres + turns[1][:, None, None] * centres[:, None]
    encoded = np.concatenate([np.sin(phase), np.cos(phase)])
    # The phase is rounded too, in proportion to its size.
    size = 1 + np.tile(np.abs(turns).sum(axis=0), 2)[:, None, None]
    title = "the image's positional encoding"
    found.add([Part(title, (name,), encoded, FOLDING * size, 0, "")])


def _stacked(found: Expected, title: str, names: Sequence[str]) -> Iterator[list[Part]]:
    """Rows of one table, or each stored for itself."""
    rows = [found.copied(name) for name in names]
    whole = np.concatenate([row.values for row in rows])
    yield [Part(title, tuple(names), whole, EXACT * np.abs(whole), 0, "")]
    yield rows


def _mask_decoder(found: Expected, module: MaskDecoder, image: str) -> None:
    path = "mask_decoder"
    tokens = [f"{path}.iou_token.weight", f"{path}.mask_tokens.weight"]
    found.add(*_stacked(found, "the output tokens", tokens))
    last, image = _transformer(found, f"{path}.transformer", module.transformer, image)
    for number, child in enumerate(module.output_upscaling):
        if isinstance(child, nn.ConvTranspose2d):
            image = _upscaling(found, f"{path}.output_upscaling.{number}", child, image)
        elif isinstance(child, LayerNorm2d):
            image = found.layer(f"{path}.output_upscaling.{number}", image)
    masks = range(module.num_masks)
    heads = [*(f"output_hypernetworks_mlps.{i}" for i in masks), "iou_prediction_head"]
    for head in heads:
        source = last
        for name, child in module.get_submodule(head).named_modules(prefix=f"{path}.{head}"):
            if isinstance(child, nn.Linear):
                source = found.layer(name, source)


def _upscaling(found: Expected, path: str, layer: nn.ConvTranspose2d, image: str) -> str:
    """A transposed convolution, or a linear layer to all of its pixels, each with the bias; into
    such a layer a layer norm before it may be folded."""
    weight, bias = found.copied(f"{path}.weight", axis=1), found.copied(f"{path}.bias")
    pixels = int(np.prod(layer.kernel_size))
    spread = np.broadcast_to(bias.values.reshape(-1, 1), (bias.values.size, pixels))
    forms = [[weight, bias], [weight, found.copied(f"{path}.bias", spread)]]
    if isinstance(found.model.get_submodule(image), nn.LayerNorm):
        forms.append(_folded_upscaling(found, path, spread, image))
    found.add(*forms)
    return found.follow(path, image)


def _folded_upscaling(found: Expected, path: str, bias: np.ndarray, norm: str) -> list[Part]:
    """Weight [C_in, C_out, 2, 2] and a bias for each pixel [C_out, 4], with a norm folded in."""
    weight, shift = found.get(f"{path}.weight"), found.get(f"{norm}.bias")
    folded = weight * found.get(f"{norm}.weight").reshape(-1, 1, 1, 1)
    moved = np.tensordot(shift, weight, 1).reshape(bias.shape)
    size = np.abs(bias) + np.tensordot(np.abs(shift), np.abs(weight), 1).reshape(bias.shape)
    kernel = (f"{path}.weight", f"{norm}.weight")
    offset = (f"{path}.bias", f"{path}.weight", f"{norm}.bias")
    return [
        Part(f"{path}.weight × norm", kernel, folded, _folding(folded), 1, path),
        Part(f"{path}.bias + norm", offset, bias + moved, FOLDING * size, 0, path),
    ]


def _transformer(
    found: Expected, path: str, module: TwoWayTransformer, image: str
) -> tuple[str, str]:
    """Returns the modules that give the tokens and the image last."""
    tokens = ""
    for number in range(len(module.layers)):
        block = f"{path}.layers.{number}"
        tokens = _attention(found, f"{block}.self_attn", tokens, tokens)
        tokens = found.layer(f"{block}.norm1", tokens)
        tokens = _attention(found, f"{block}.cross_attn_token_to_image", tokens, image)
        for layer in ("norm2", "mlp.lin1", "mlp.lin2", "norm3"):
            tokens = found.layer(f"{block}.{layer}", tokens)
        image = _attention(found, f"{block}.cross_attn_image_to_token", image, tokens)
        image = found.layer(f"{block}.norm4", image)
    tokens = _attention(found, f"{path}.final_attn_token_to_image", tokens, image)
    return found.layer(f"{path}.norm_final_attn", tokens), image


def _attention(found: Expected, path: str, queries: str, keys: str) -> str:
    """Projections of one attention; queries and keys are the modules that they come from."""
    made = [found.layer(f"{path}.q_proj", queries)]
    made += [found.layer(f"{path}.{name}", keys) for name in ("k_proj", "v_proj")]
    return found.layer(f"{path}.out_proj", *made)
