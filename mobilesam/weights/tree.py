"""What a checkpoint file holds, as one tree of named tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilesam.errors import CheckpointError
from mobilesam.weights.files import few
from mobilesam.weights.pickles import StandIn

_MOST_ENTRIES = 1_000_000
_CONTAINERS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("model.", "module.", "sam.", "_orig_mod.")


@dataclass
class Branch:
    """One branch of the tree: a leaf where it has a value, and branches below it."""

    value: Any = None
    below: dict[str, "Branch"] = field(default_factory=dict)

    def leaves(self, path: str = "") -> Iterator[tuple[str, Any]]:
        """Dotted name and value of every leaf, in order."""
        if self.value is not None:
            yield path, self.value
        for name, branch in self.below.items():
            yield from branch.leaves(f"{path}.{name}" if path else name)

    def tensors(self) -> dict[str, Tensor]:
        """The leaves that are tensors."""
        return {name: value for name, value in self.leaves() if isinstance(value, Tensor)}


def tree_of(content: Any) -> Branch:
    """The tree of what a checkpoint holds.

    Raises:
        CheckpointError: it is nested in itself, or holds more than a million entries.
    """
    root, count = Branch(), 0
    # Containers in which a container lies, so that one that holds itself is noticed.
    waiting: list[tuple[Branch, Any, frozenset[int]]] = [(root, content, frozenset())]
    while waiting:
        branch, value, around = waiting.pop()
        count += 1
        if count > _MOST_ENTRIES:
            raise CheckpointError("The checkpoint holds more than a million entries.")
        parts = _parts(value)
        if parts is None:
            branch.value = value.detach() if isinstance(value, Tensor) else value
            continue
        if id(value) in around:
            continue
        made = []
        for key, inner in parts.items():
            place = branch
            for name in str(key).split("."):
                place = place.below.setdefault(name, Branch())
            made.append((place, inner, around | {id(value)}))
        waiting += reversed(made)
    return root


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """What lies in a container; None for what is none."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, StandIn):
        return value.parts()
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return dict(enumerate(value)) or None
    return None


def as_float32(tensor: Tensor) -> Tensor:
    """Floating point as float32, whatever it was stored as."""
    return tensor.float() if tensor.is_floating_point() else tensor


def require_tensors(tree: Branch, content: Any, path: Path) -> None:
    """Refuse a file that holds no named tensor.

    Raises:
        CheckpointError: it does not; says what it holds.
    """
    if isinstance(content, Mapping | StandIn) and tree.tensors():
        return
    what = type(content).__name__
    if isinstance(content, StandIn):
        what = f"{content.full_name}; save its state_dict(): this"
    raise CheckpointError(
        f"'{path}' holds a {what}, which is not a PyTorch checkpoint; "
        f"a dict of named tensors is needed."
    )


def flattened(content: Any, path: Path) -> dict[str, Tensor]:
    """The named tensors of a file of tensors alone, for whatever model.

    Containers ``model``, ``state_dict`` and ``model_state_dict`` are unwrapped, and prefixes that
    all names share are stripped. Floating point comes as float32.

    Raises:
        CheckpointError: it holds no named tensors, or something beside them.
    """
    while isinstance(content, Mapping):
        inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    require_tensors(tree_of(content) if isinstance(content, Mapping) else Branch(), content, path)
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"'{path}' holds entries that are not tensors: {few(others)}; "
            f"save the model's state_dict, alone or under the key 'model' or 'state_dict'."
        )
    named = {str(name): tensor.detach() for name, tensor in content.items()}
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in named)), None):
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return {name: as_float32(tensor) for name, tensor in named.items()}
