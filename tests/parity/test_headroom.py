"""How near values come to an overflow is asked only where a runner lets itself be watched."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from mobilesam.bundle.contract import Component
from mobilesam.bundle.prompt_types import Subject
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.cases import PromptedPhoto
from parity.headroom import Asked, headroom_bits, measure_headroom, op_range, telling
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import Headroom
from tests.parity.fakes import SIZE, ModuleRunner, demo_model, write_bundle
from tests.parity.report_samples import case, encoder

PHOTO = PromptedPhoto("grey", lambda: np.full((40, 60, 3), 128, np.uint8), Subject.middle)


class Prepares(ModuleRunner):
    """Counts what it prepares."""

    prepared = 0

    def prepare_image(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self.prepared += 1
        return super().prepare_image(image)

    def prepare_prompt(self, *given: object) -> dict[str, np.ndarray]:
        self.prepared += 1
        return super().prepare_prompt(*given)  # type: ignore[arg-type]


class Watched(Prepares):
    """Lets its decoder be watched: one op, which gives 1024."""

    def watch_half(
        self,
        component: Component,
        prepare: Callable[[], Arrays],
        observe: Callable[[str, Tensor], None],
    ) -> bool:
        if component == "encoder":
            return False
        assert "image_embeddings" in prepare()
        observe("op", torch.tensor([-1024.0, 3.0]))
        return True


@pytest.fixture
def reference() -> Iterator[PhotoReference]:
    with (
        stored_photos([PHOTO], [SIZE]) as photos,
        ReferenceRunner(demo_model()) as runner,
        reference_answers(runner, photos) as (answers,),
    ):
        yield answers


def test_nothing_is_prepared_for_what_cannot_be_watched(
    tmp_path: Path, reference: PhotoReference
) -> None:
    bundle = Bundle(write_bundle(tmp_path / "b", demo_model()))
    runner = Prepares(bundle)
    both = {"encoder": Asked(reference), "decoder": Asked(reference)}
    assert measure_headroom(runner, both) == [] and runner.prepared == 0
    watched = Watched(bundle)
    (part,) = measure_headroom(watched, both)
    assert part.component == "decoder" and watched.prepared == 1
    (op,) = part.ops
    assert op.largest == 1024 and op.headroom_bits == headroom_bits(1024)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "overflow", "bits"),
    [
        ([1024.0, -3.0], None, headroom_bits(1024)),
        ([65504.0, 1.0], None, 0.0),
        ([70000.0, 1.0], "infinity", headroom_bits(70000)),
        ([INF, 1.0], "infinity", None),
        ([1.0, -INF], "infinity", None),
        ([INF, NAN], "infinity", None),
        ([NAN, 1.0], "not a number", None),
        ([0.0, 0.0], None, None),
        ([-8192.0, 2.0], None, headroom_bits(2)),  # the score of an unused slot
        ([-8192.0, INF], "infinity", None),
    ],
)
def test_what_is_not_finite_is_an_overflow(
    values: list[float], overflow: str | None, bits: float | None
) -> None:
    found = op_range("op", torch.tensor(values))
    assert (found.overflow, found.headroom_bits) == (overflow, bits)
    assert op_range("op", torch.tensor([1, 2])).overflow is None


def test_the_first_op_that_overflowed_has_the_least_headroom() -> None:
    values = [[1024.0], [60000.0], [INF], [NAN]]
    ops = [op_range(name, torch.tensor(value)) for name, value in zip("abcd", values, strict=True)]
    part = Headroom(component="encoder", image="x", ops=ops)
    assert part.least is part.overflowed[0] and part.least.name == "c"
    assert [op.name for op in part.overflowed] == ["c", "d"]
    sound = Headroom(component="encoder", image="x", ops=ops[:2])
    assert sound.least is not None and sound.least.name == "b" and sound.overflowed == []


def test_it_is_measured_where_outputs_are_not_finite(reference: PhotoReference) -> None:
    first, second = reference.cases[0].name, reference.cases[1].name
    sound = encoder(1e-6)[0].model_copy(update={"image": "grey"})
    bright = cast(
        PhotoReference,
        SimpleNamespace(
            photo=SimpleNamespace(name="bright"),
            cases=[SimpleNamespace(image="bright", name=name) for name in (first, second)],
        ),
    )
    answers = [reference, bright]
    metrics = [sound, sound.model_copy(update={"image": "bright"})]
    fine = [
        case(image, "box", "decoder", [1.0] * 4).model_copy(update={"prompt": prompt})
        for image in ("grey", "bright")
        for prompt in (first, second)
    ]
    assert telling(answers, metrics, fine) == {
        "encoder": Asked(reference),
        "decoder": Asked(reference),
    }
    metrics[1].finite = False
    fine[3].finite = False
    assert telling(answers, metrics, fine) == {
        "encoder": Asked(bright),
        "decoder": Asked(bright, 1),
    }
    assert telling(answers, [], []) == {}
