"""Every input of the contract is asked every value that means something."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mobilesam.bundle.contract import COMPONENTS, LABELS, Contract, pack_image, pack_prompt
from mobilesam.bundle.packing import Inputs, packed
from mobilesam.bundle.prompt_types import (
    PROMPT_TYPES,
    PromptRow,
    Subject,
    everyday_prompts,
    remaining_prompts,
)
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame
from parity.cases import default_photos
from parity.photos import stored_photos

SIZE = (300, 451)
SUBJECT = Subject((90, 60, 300, 250), (200.0, 150.0))
SIDE = 64


def _contract(slots: int = 8, slot_counts: tuple[int, ...] = ()) -> Contract:
    return Contract(SIDE, 16, 256, "pixels", slots, slot_counts)


def _rows(slots: int) -> list[PromptRow]:
    return [*everyday_prompts(SUBJECT, SIZE), *remaining_prompts(SUBJECT, SIZE, slots)]


def _asked(contract: Contract) -> Iterator[tuple[PromptRow, Inputs]]:
    """Every prompt that fits, as the decoder gets it."""
    low = contract.low_res_size
    earlier = np.full((low, low), 3, np.float32)
    for row in _rows(contract.slots):
        if row.slots <= contract.slots:
            prompt = make_prompt(
                row.points or None,
                row.labels or None,
                row.box,
                earlier if row.refines else None,
                original_size=SIZE,
                low_res_size=low,
            )
            plain = pack_prompt(prompt, Frame(SIZE, SIDE), contract)
            yield row, packed(plain, row.packing, contract)


def _coords(inputs: Inputs, contract: Contract) -> set[str]:
    used = inputs["point_coords"][inputs["point_labels"] > -1]
    unused = inputs["point_coords"][inputs["point_labels"] == -2]
    height, width = Frame(SIZE, SIDE).valid_size
    met = set()
    for x, y in used:
        met |= {"left"} if x == 0 else set()
        met |= {"top"} if y == 0 else set()
        met |= {"right"} if x == width else set()
        met |= {"bottom"} if y == height else set()
        met |= {"inside"} if 0 < x < width and 0 < y < height else set()
        met |= {"between pixels"} if x % 1 and y % 1 else set()
    if len(unused):
        met.add("unread" if unused.any() else "unread zero")
    return met


def _labels(inputs: Inputs, contract: Contract) -> set[str]:
    labels = inputs["point_labels"][0]
    met = {f"{label:g} in slot {slot}" for slot, label in enumerate(labels)}
    return met | {f"{np.count_nonzero(labels != -2)} slots used"}


def _mask(inputs: Inputs, contract: Contract) -> set[str]:
    if inputs["has_mask_input"][0]:
        return {"read"}
    if np.isinf(inputs["mask_input"]).any():
        return {"unread infinity"}
    return {"unread" if inputs["mask_input"].any() else "unread zero"}


STATES: dict[str, tuple[Callable[[Inputs, Contract], set[str]], Callable[[Contract], set[str]]]] = {
    "point_coords": (
        _coords,
        lambda _: {"left", "top", "right", "bottom", "inside", "between pixels", "unread"},
    ),
    "point_labels": (
        _labels,
        lambda contract: (
            {f"{label} in slot {slot}" for label in (0, 1) for slot in range(contract.slots - 1)}
            | {f"2 in slot {slot}" for slot in range(contract.slots - 1)}
            | {f"{label} in slot {slot}" for label in (3, -1) for slot in range(1, contract.slots)}
            | {f"-2 in slot {slot}" for slot in range(contract.slots)}
            | {f"{used} slots used" for used in (0, *range(2, contract.slots + 1))}
        ),
    ),
    "mask_input": (_mask, lambda _: {"read", "unread", "unread infinity", "unread zero"}),
    "has_mask_input": (
        lambda inputs, _: {f"{inputs['has_mask_input'][0]:g}"},
        lambda _: {"0", "1"},
    ),
}
"""Of each input of the decoder: which values with a meaning inputs have, and which there are."""


@pytest.mark.parametrize("slots", [8, 5, 16])
def test_every_value_with_a_meaning_is_asked_of_every_input(slots: int) -> None:
    contract = _contract(slots)
    names = {spec.name for spec in contract.signature("decoder").inputs} - {"image_embeddings"}
    assert set(STATES) == names, "say here what values of a new input mean, and ask them"
    asked = [inputs for _, inputs in _asked(contract)]
    for name, (states_of, wanted) in STATES.items():
        met = set().union(*(states_of(inputs, contract) for inputs in asked))
        assert wanted(contract) <= met, (name, wanted(contract) - met)


def test_every_label_of_the_contract_is_asked() -> None:
    labels = np.concatenate([inputs["point_labels"][0] for _, inputs in _asked(_contract())])
    assert set(LABELS) == set(labels.astype(int).tolist())


def test_every_combination_of_points_box_and_mask_is_asked() -> None:
    kinds = {
        ("".join(sorted({"-+"[label] for label in row.labels})), row.box is not None, row.refines)
        for row in _rows(8)
    }
    every = {(s, b, m) for s in ("", "+", "-", "+-") for b in (True, False) for m in (True, False)}
    assert kinds == every - {("", False, False)}


def test_every_number_of_slots_of_a_flexible_decoder_is_asked() -> None:
    counts = tuple(range(1, 17))
    shapes = {inputs["point_labels"].shape[1] for _, inputs in _asked(_contract(16, counts))}
    assert shapes >= set(range(2, 17))
    enumerated = {inputs["point_labels"].shape[1] for _, inputs in _asked(_contract(8, (2, 4, 8)))}
    assert enumerated == {2, 4, 8}


def test_every_prompt_type_is_asked_and_every_name_is_used_once() -> None:
    rows = _rows(8)
    assert {row.prompt_type for row in rows} == set(PROMPT_TYPES)
    assert len({row.name for row in rows}) == len(rows)
    assert max(row.slots for row in rows) == 8
    assert all(row.slots <= 3 for row in remaining_prompts(SUBJECT, SIZE, 3))


def test_photos_of_every_shape_are_asked() -> None:
    """The encoder's inputs: the valid size whole, wide, tall, square, and next to nothing."""
    assert [component for component in COMPONENTS] == ["encoder", "decoder"]
    contract = _contract()
    names = {spec.name for spec in contract.signature("encoder").inputs}
    assert names == {"image", "valid_size"}, "say here what values of a new input mean"
    with stored_photos(default_photos(), [SIDE], strips=True) as (photos, _):
        sizes = [pack_image(p.pixels(), contract)["valid_size"].tolist() for p in photos]
    shapes = {(height / SIDE, width / SIDE) for height, width in sizes}
    assert (1, 1) in shapes
    assert any(h == 1 and 0.2 < w < 1 for h, w in shapes)
    assert any(w == 1 and 0.2 < h < 1 for h, w in shapes)
    assert any(h == 1 and w < 0.1 for h, w in shapes) and any(w == 1 and h < 0.1 for h, w in shapes)


def _plain() -> tuple[Inputs, Contract]:
    contract = _contract()
    prompt = make_prompt([[200, 150]], [1], original_size=SIZE)
    return pack_prompt(prompt, Frame(SIZE, SIDE), contract), contract


def test_stale_inputs_change_only_what_is_not_read() -> None:
    plain, contract = _plain()
    stale = packed(plain, "stale", contract)
    used = plain["point_labels"] != -2
    assert np.array_equal(stale["point_labels"], plain["point_labels"])
    assert np.array_equal(stale["point_coords"][used], plain["point_coords"][used])
    assert (stale["point_coords"][~used] != 0).all() and np.abs(stale["mask_input"]).max() > 10
    assert stale["has_mask_input"] == 0 and plain["mask_input"].max() == 0
    assert stale["mask_input"].shape == plain["mask_input"].shape
    assert {value.dtype for value in stale.values()} == {np.dtype(np.float32)}


def test_infinite_inputs_are_infinite_only_where_nothing_is_read() -> None:
    plain, contract = _plain()
    infinite = packed(plain, "infinite", contract)
    used = plain["point_labels"] != -2
    assert np.array_equal(infinite["point_coords"][used], plain["point_coords"][used])
    for left in (infinite["point_coords"][~used], infinite["mask_input"]):
        assert np.isinf(left).all()
    assert {value.dtype for value in infinite.values()} == {np.dtype(np.float32)}


def test_a_mask_that_is_read_is_not_stale() -> None:
    contract = _contract()
    mask = np.full((16, 16), 2, np.float32)
    prompt = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), None, mask)
    plain = pack_prompt(prompt, Frame(SIZE, SIDE), contract)
    assert np.array_equal(packed(plain, "stale", contract)["mask_input"], plain["mask_input"])


def test_a_flexible_decoder_gets_a_slot_to_leave_full() -> None:
    contract = _contract(8, tuple(range(1, 9)))
    prompt = make_prompt([[200, 150]], [1], original_size=SIZE)
    plain = pack_prompt(prompt, Frame(SIZE, SIDE), contract)
    assert plain["point_labels"].tolist() == [[1, -1]]
    stale = packed(plain, "stale", contract)
    assert stale["point_labels"].tolist() == [[1, -1, -2]] and stale["point_coords"][0, 2].all()


def test_gaps_reverse_the_slots() -> None:
    plain, contract = _plain()
    gaps = packed(plain, "gaps", contract)
    assert gaps["point_labels"][0].tolist() == [-2] * 6 + [-1, 1]
    assert np.array_equal(gaps["point_coords"][0, -1], plain["point_coords"][0, 0])
