"""Bundles exported once for the whole session, and one reference that judges them."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from conftest import THREADS, shared_folder
from converters import export
from mobile_runtime_tests.helpers import FLOAT, OTHERS, SIZE, Change, Judge
from mobilesam.model.build import build
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.base import BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity import judging
from parity.image_folder import folder_photos
from parity.origin import Origin
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from tests.parity.fakes import write_photos
from tests.shared_bundles import in_this_process
from tests.upstream.oracle import randomize


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Runtimes and tests share small machines; more threads only contend."""
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this session lies."""
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="session")
def exports() -> Path:
    """Where bundles and checkpoints lie, for all processes that test."""
    return shared_folder("runtimes")


@pytest.fixture(scope="session")
def photos(folder: Path) -> Path:
    """A small wide photo and a small tall one."""
    return write_photos(folder / "photos")


@pytest.fixture(scope="session")
def bundles() -> dict[str, Path]:
    """Every target in its float schemes, demo weights, small frame; by name, to be read only."""
    demo = shared_folder("demo")  # as tests.shared_bundles.demo_bundle
    with in_this_process():
        results = export(schemes=FLOAT, out=demo, image_size=SIZE, progress=False)
    return {f"{r.target}-{r.scheme}": r.path for r in results}


@pytest.fixture(scope="session")
def random_weights(exports: Path) -> Callable[[int], Path]:
    """``random_weights(seed)``: a checkpoint of which every entry is random."""

    @cache
    def write(seed: int) -> Path:
        model = build(image_size=SIZE)
        randomize(model, seed)
        path = exports / f"seed{seed}.safetensors"
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, partial)
        return partial.replace(path)

    return write


@pytest.fixture(scope="session")
def other_bundle(exports: Path, random_weights: Callable[[int], Path]) -> Callable[[str], Path]:
    """``other_bundle(name)``: one of :data:`OTHERS`, exported on first use."""

    @cache
    def of_target(target: str) -> dict[str, Path]:
        own = {name: dict(v) for name, v in OTHERS.items() if name.startswith(target)}
        settings = next(iter(own.values()))
        with in_this_process():
            results = export(
                targets=[target],
                schemes=[name.partition("-")[2] for name in own],
                weights=random_weights(settings.pop("seed")),
                out=exports / "other",
                image_size=SIZE,
                progress=False,
                **settings,
            )
        return {f"{r.target}-{r.scheme}": r.path for r in results}

    return lambda name: of_target(name.partition("-")[0])[name]


@pytest.fixture
def scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is removed after the test, for copies of bundles."""
    path = folder / "scratch"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def judge(photos: Path) -> Iterator[Judge]:
    """``judge(bundle path, runtime, change)``: its report, as the suite would write it.

    ``change`` does something to the opened runner first. References are computed once for each
    weights and size.
    """
    loaded: dict[Origin, tuple[MobileSAM, Sequence[PhotoReference]]] = {}
    opened = ExitStack()

    def answers(origin: Origin) -> tuple[MobileSAM, Sequence[PhotoReference]]:
        if origin not in loaded:
            model = origin.load()
            kept = stored_photos(folder_photos(photos), [origin.image_size])
            reference = opened.enter_context(ReferenceRunner(model))
            context = reference_answers(reference, opened.enter_context(kept))
            loaded[origin] = (model, opened.enter_context(context))
        return loaded[origin]

    def run(path: Path, runtime: str, change: Change | None = None) -> BundleReport:
        bundle = Bundle(path)
        model, references = answers(Origin.of(bundle, None))
        row = Thresholds().row(bundle.manifest.target, bundle.manifest.scheme.name, runtime)
        entry = judging.BundleRun(bundle, runtime, row)

        def open_changed(*given: Any, **options: Any) -> BundleRunner:
            runner = open_runner(*given, **options)
            if change is not None:
                change(runner)
            return runner

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judging, "open_runner", open_changed)
            report = judging.check_run(entry, model)
            if not report.reasons:
                judging.judge_run(report, entry, references, THREADS, None, Progress(False))
            return report

    with opened:
        yield run
