"""The model with the weights that a file holds, so that its arithmetic can be judged alone.

A file of few bits draws other masks than PyTorch because its weights are other ones. PyTorch given
those very weights draws the file's masks, to within the rounding of its arithmetic; what is left is
the graph's own error, which no scheme excuses.
"""

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from mobilesam.model.layers import WithTables
from mobilesam.model.sam import MobileSAM
from parity.weight_audit.layouts import arranged
from parity.weight_audit.matching import Found


def restored(model: MobileSAM, found: Iterable[Found]) -> MobileSAM:
    """A copy of the model with the values of a file's constants in place of its own.

    What a converter folded is unfolded: a convolution is divided by what its batch norm multiplies
    it with, so that both together are what the file holds.

    Args:
        model: the reference, in float32.
        found: every tensor of :mod:`parity.weight_audit.expected`, and the constant that holds it.
    """
    made = copy.deepcopy(model)
    with torch.no_grad():
        # Kernels first: what is added is unfolded with them.
        for each in sorted(found, key=_is_added):
            part = each.part
            values = arranged(each.constant.values, part.values.shape, each.order)
            _put(made, part.name, part.parameters, np.asarray(values, np.float64))
    return made


def _is_added(found: Found) -> bool:
    return found.part.values.ndim == 1 or found.part.name.endswith(" + norm")


def _put(made: MobileSAM, name: str, parameters: tuple[str, ...], values: np.ndarray) -> None:
    """Write one tensor, by the names that ``parity.weight_audit.expected`` gives them."""
    first = parameters[0]
    if (owner := _owner_of_table(made, first)) is not None:
        if name.endswith(" + bias"):
            values = values - _get(made, parameters[1])
        setattr(owner, f"baked_{first.rpartition('.')[2]}", torch.from_numpy(values).float())
    elif name.endswith(" × bn"):
        factor = _factor(_norm(made, first.removesuffix("c.weight")))
        _set(made, first, _divided(values, factor.reshape(-1, 1, 1, 1)))
    elif name.endswith(".bn"):
        norm = _norm(made, name.removesuffix("bn"))
        _set(made, f"{name}.bias", values + _double(norm.running_mean) * _factor(norm))
    elif name.endswith(" × norm"):
        factor = _get(made, parameters[1])
        if values.ndim == 4:  # of a transposed convolution, whose first axis is its input
            factor = factor.reshape(-1, 1, 1, 1)
        _set(made, first, _divided(values, factor))
    elif name.endswith(" + norm"):
        weight = _get(made, first.removesuffix("bias") + "weight")
        shift = _get(made, _shift_of(made, parameters))
        if weight.ndim == 4:  # of a transposed convolution, with a bias for each of its pixels
            moved = np.tensordot(shift, weight, 1).reshape(values.shape)
            _set(made, first, (values - moved).mean(axis=1))
        else:
            _set(made, first, values - weight @ shift)
    elif "positional_encoding" in name:
        _put_positions(made, name, values)
    elif name == "the image's positional encoding":
        position = torch.from_numpy(values[None]).float()
        made.prompt_encoder.image_position = lambda: position  # type: ignore[method-assign]
    else:
        _put_rows(made, parameters, values)


def _owner_of_table(made: MobileSAM, name: str) -> WithTables | None:
    """The module whose table has that name; None for what is no table."""
    for path, module in made.named_modules():
        if isinstance(module, WithTables) and name in {f"{path}.{own}" for own in module.TABLES}:
            return module
    return None


def _put_positions(made: MobileSAM, name: str, values: np.ndarray) -> None:
    """The matrix of coordinates: as it is, or in one of the forms with what surrounds it."""
    turn = 2 * np.pi
    if name.endswith(" in radians"):
        values = values / turn
    elif name.endswith(" of pixels"):
        values = values / turn * (made.image_size / 2)
    elif name.endswith(" of pixel 0"):
        return  # follows from the matrix
    _set(made, name.partition(" ")[0], values)


def _put_rows(made: MobileSAM, parameters: tuple[str, ...], values: np.ndarray) -> None:
    """Parameters that are stored as they are, several as rows of one table, or one spread out."""
    sizes = [_get(made, name).shape for name in parameters]
    if len(parameters) == 1 and values.size != np.prod(sizes[0]):
        values = values.reshape(len(values), -1).mean(axis=1)  # no_mask_embed, on every place
    begun = 0
    flat = values.reshape(-1)
    for name, shape in zip(parameters, sizes, strict=True):
        size = int(np.prod(shape))
        _set(made, name, flat[begun : begun + size].reshape(shape))
        begun += size


def _shift_of(made: MobileSAM, parameters: tuple[str, ...]) -> str:
    """The layer norm's bias among what a folded bias is made of."""
    return next(
        name
        for name in parameters[1:]
        if name.endswith(".bias")
        and isinstance(made.get_submodule(name.rpartition(".")[0]), nn.LayerNorm)
    )


def _norm(made: MobileSAM, path: str) -> nn.BatchNorm2d:
    found = made.get_submodule(f"{path}bn")
    assert isinstance(found, nn.BatchNorm2d)
    return found


def _factor(norm: nn.BatchNorm2d) -> np.ndarray:
    """What a batch norm multiplies each channel with."""
    return _double(norm.weight) / np.sqrt(_double(norm.running_var) + norm.eps)


def _divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Zero where the divisor is: there the file holds zeros, whatever the kernel was."""
    return np.divide(
        values, by, out=np.zeros_like(values), where=np.broadcast_to(by != 0, values.shape)
    )


def _double(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return np.asarray(tensor.detach().numpy(), np.float64)


def _get(made: MobileSAM, name: str) -> np.ndarray:
    owner, _, own = name.rpartition(".")
    return _double(getattr(made.get_submodule(owner), own))


def _set(made: MobileSAM, name: str, values: np.ndarray) -> None:
    owner, _, own = name.rpartition(".")
    getattr(made.get_submodule(owner), own).copy_(torch.from_numpy(np.ascontiguousarray(values)))
