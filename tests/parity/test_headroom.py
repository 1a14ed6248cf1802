"""How near values come to an overflow is asked only where a runner lets itself be watched."""

from collections.abc import Callable, Iterator
from pathlib import Path

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
from parity.headroom import headroom_bits, measure_headroom
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from tests.parity.fakes import SIZE, ModuleRunner, demo_model, write_bundle

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
    assert measure_headroom(runner, reference) == [] and runner.prepared == 0
    watched = Watched(bundle)
    (part,) = measure_headroom(watched, reference)
    assert part.component == "decoder" and watched.prepared == 1
    (op,) = part.ops
    assert op.largest == 1024 and op.headroom_bits == headroom_bits(1024)
