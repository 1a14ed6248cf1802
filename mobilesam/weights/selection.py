"""Finding a model's tensors within whatever a checkpoint file holds.

The file is seen as one tree: keys of mappings and the parts of dotted names are its branches,
tensors its leaves. A branch is a complete set of the model's weights if its leaves are the model's,
by name and shape, once wrappers are passed over: branches between two parts of a name that the
model has not, such as ``module`` in ``image_encoder.module.neck.0.weight``. Where the set lies
(``state_dict.net``), and what lies beside it, is of no account. *Within* the model's components
nothing may be left over that could change an answer: adapters such as LoRA are further weights.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mobilesam.errors import CheckpointError
from mobilesam.weights.families import guess_family
from mobilesam.weights.files import few
from mobilesam.weights.tree import Branch, as_float32, tree_of

UNUSED_HEAD = ("image_encoder.head.", "image_encoder.norm_head.")
"""Entries of TinyViT's ImageNet classifier. Upstream's checkpoint has them, SAM never uses them."""

KEY_OPTION = "--weights-key"
TOP = "."
"""The key of a set that lies at the top of a file."""

_COUNTER = "num_batches_tracked"  # of batch norms; no answer depends on it
_CONSTANTS = ("pixel_mean", "pixel_std")  # whose values are checked
_CACHES = ("ab",)  # attention biases laid out for a window, as TinyViT keeps them in eval mode
_AVERAGES = {"average", "averaged", "avg", "swa", "shadow", "polyak"}


@dataclass(frozen=True)
class WeightSet:
    """A complete set of the model's weights.

    Attributes:
        key: where it lies, dotted; "." at the top.
        tensors: by the model's names, floating point as float32.
        entries: the tensors as the file has them, by identity.
    """

    key: str
    tensors: dict[str, Tensor]
    entries: frozenset[int]

    @property
    def averaged(self) -> bool:
        """Whether its key says that it is a moving average (EMA, SWA) of other weights."""
        words = re.split(r"[^a-z0-9]+", self.key.lower())
        return any(word.startswith("ema") or word in _AVERAGES for word in words)

    def is_at(self, key: str) -> bool:
        """Whether it lies at a key, or below it."""
        return self.key == key or self.key.startswith(f"{key}.")

    def same_as(self, other: "WeightSet") -> bool:
        """Whether it has the same values."""
        return all(torch.equal(tensor, other.tensors[n]) for n, tensor in self.tensors.items())


def weight_sets(tree: Branch, wanted: Mapping[str, Tensor]) -> list[WeightSet]:
    """Every complete set of a model's weights in a file, the outermost first.

    Args:
        tree: of the file.
        wanted: the model's own state dict, for names, shapes and dtypes.
    """
    model = tree_of(wanted)
    words = {word for name in wanted for word in name.split(".")}
    found = []
    waiting = [("", tree)]
    while waiting:
        path, branch = waiting.pop(0)
        tensors = _matched(branch, model, words, "")
        if tensors is not None:
            entries = frozenset(id(tensor) for tensor in tensors.values())
            found.append(WeightSet(path or TOP, _completed(tensors, wanted), entries))
        waiting += [
            (f"{path}.{name}" if path else name, inner) for name, inner in branch.below.items()
        ]
    return found


def _matched(branch: Branch, model: Branch, words: set[str], name: str) -> dict[str, Tensor] | None:
    """The tensors of a branch by the model's names, where it holds all of them and no others.

    Args:
        branch: of the file.
        model: the branch of the model's own tree that it is held against.
        words: all parts of the model's names, which no wrapper has for a name.
        name: of ``model``, dotted; empty for the whole model, beside which anything may lie.
    """
    if model.value is not None:
        fits = isinstance(branch.value, Tensor) and branch.value.shape == model.value.shape
        if fits and not branch.below:
            return {name: branch.value}
    else:
        taken: dict[str, Tensor] = {}
        for part, inner in model.below.items():
            within = f"{name}.{part}" if name else part
            if part not in branch.below and part == _COUNTER:
                continue
            found = branch.below.get(part)
            tensors = None if found is None else _matched(found, inner, words, within)
            if tensors is None:
                break
            taken |= tensors
        else:
            if not name or all(
                _is_harmless(f"{name}.{part}", inner)
                for part, inner in branch.below.items()
                if part not in model.below
            ):
                return taken
    if not name:
        return None
    for part, inner in branch.below.items():
        tensors = None if part in words else _matched(inner, model, words, name)
        if tensors is not None and all(
            _is_harmless(f"{name}.{other}", beside)
            for other, beside in branch.below.items()
            if other != part
        ):
            return tensors
    return None


def _is_harmless(name: str, branch: Branch) -> bool:
    """Whether entries that the model has not can change none of its answers."""
    for place, value in branch.leaves(name):
        if not isinstance(value, Tensor) or place.startswith(UNUSED_HEAD):
            continue
        last = place.rpartition(".")[2]
        if value.is_floating_point() and last not in (*_CACHES, _COUNTER, *_CONSTANTS):
            return False
    return True


def _completed(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In the model's order, counters of batch norms as the model counts, those missing as zero."""
    done = {}
    for name, own in wanted.items():
        tensor = tensors.get(name)
        if name.endswith(_COUNTER):
            tensor = torch.zeros_like(own) if tensor is None else tensor.to(own.dtype)
        if tensor is not None:
            done[name] = as_float32(tensor)
    return done


def choose(sets: Sequence[WeightSet], key: str | None, source: str) -> WeightSet:
    """The set to take: the one at ``key``, else the only one, else the only average.

    Args:
        sets: at least one.
        key: where it is to lie, or what it lies below; None leaves the choice to the rule.
        source: the file, for the error.

    Raises:
        CheckpointError: no set lies there, or which is meant cannot be told.
    """
    if key is not None:
        below = [s for s in sets if s.is_at(key)]
        sets_there = [s for s in below if s.key == key] or below
        if not sets_there:
            raise CheckpointError(
                f"'{source}' holds no complete weights under '{key}', but under {_listed(sets)}: "
                f"name one of them with {KEY_OPTION}."
            )
        sets = sets_there
    distinct = distinct_of(sets)
    averages = [s for s in distinct if s.averaged]
    if len(distinct) == 1:
        return distinct[0]
    if len(averages) == 1 and key is None:
        return averages[0]
    raise CheckpointError(
        f"'{source}' holds {len(distinct)} different complete sets of weights, under "
        f"{_listed(distinct)}: say which with {KEY_OPTION}."
    )


def distinct_of(sets: Sequence[WeightSet]) -> list[WeightSet]:
    """The sets without those that repeat the values of an earlier one."""
    return [s for i, s in enumerate(sets) if not any(s.same_as(sets[j]) for j in range(i))]


def _listed(sets: Sequence[WeightSet]) -> str:
    names = [f"'{each.key}'" for each in sets]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def described(tree: Branch, taken: WeightSet, sets: Sequence[WeightSet], source: str) -> str:
    """What was taken out of a file and what was left out, in one line; empty if it was all."""
    kept = frozenset().union(*(each.entries for each in sets))
    others = [f"'{s.key}'" for s in distinct_of(sets) if not s.same_as(taken)]
    beside = [name for name in _left_out(tree, kept, "") if not _is_of_head(name)]
    if taken.key == TOP and not others and not beside:
        return ""
    where = "at the top" if taken.key == TOP else f"under '{taken.key}'"
    said = f"took the {len(taken.entries)} tensors {where} of '{source}'"
    if others:
        average = ", a moving average," if taken.averaged else ""
        said += f"{average} and not those under {', '.join(others)} ({KEY_OPTION} chooses)"
    return f"{said}; left out {few(beside)}" if beside else said


def _left_out(branch: Branch, kept: frozenset[int], path: str) -> list[str]:
    """The largest branches of which nothing was kept."""
    leaves = [id(value) for _, value in branch.leaves()]
    if not kept.intersection(leaves):
        return [path] if leaves else []
    return [
        place
        for name, inner in branch.below.items()
        for place in _left_out(inner, kept, f"{path}.{name}" if path else name)
    ]


def _is_of_head(name: str) -> bool:
    return any(head in f"{name}." for head in UNUSED_HEAD)


def nearest(tree: Branch, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a file that come nearest to a model's, for an error to say what is wrong.

    Where any of the model's components is there, wrappers are passed over and what lies beside the
    components is left out; else these are the entries of the first branch that is known for
    another model's, or all.
    """
    model = tree_of(wanted)
    words = {word for name in wanted for word in name.split(".")}
    best: dict[str, Tensor] = {}
    branches = [tree]
    for branch in branches:
        branches += branch.below.values()
        there = {name: branch.below[name] for name in model.below if name in branch.below}
        found: dict[str, Tensor] = {}
        for name, tensor in Branch(below=there).tensors().items():
            plain = _unwrapped(name, words)
            found[plain if plain in wanted and plain not in found else name] = tensor
        if len(found.keys() & wanted.keys()) > len(best.keys() & wanted.keys()):
            best = found
    outer = [tree, *tree.below.values()]
    outer += [inner for branch in tree.below.values() for inner in branch.below.values()]
    known = (b.tensors() for b in outer if guess_family(b.tensors()))
    return best or next(known, tree.tensors())


def _unwrapped(name: str, words: set[str]) -> str:
    *parts, last = name.split(".")
    return ".".join([part for part in parts if part in words] + [last])


def require_constants(
    tree: Branch, taken: WeightSet, constants: Mapping[str, Sequence[float]], path: Path
) -> None:
    """Refuse weights whose file says that they take their input in another way.

    Args:
        tree: of the file.
        taken: the set; what lies within it and beside it is looked at.
        constants: by the name that a file would have them under, on the 0-255 scale.
        path: of the file, for the error.

    Raises:
        CheckpointError: a constant of the file has another value, on the 0-255 or the 0-1 scale.
    """
    branch = tree
    for part in taken.key.split(".") if taken.key != TOP else ():
        branch = branch.below[part]
    for place, value in branch.tensors().items():
        name = place.rpartition(".")[2]
        usual = constants.get(name, ())
        if not usual or value.numel() != len(usual):
            continue
        own = value.flatten().double()
        if not any(
            torch.allclose(own * scale, torch.tensor(usual, dtype=torch.float64), rtol=0.01)
            for scale in (1, 255)
        ):
            raise CheckpointError(
                f"The weights in '{path}' are for another {name} "
                f"({', '.join(f'{number:g}' for number in own.tolist())}) than SAM's "
                f"({', '.join(f'{number:g}' for number in usual)}): the exported files would get "
                f"their input wrongly."
            )
