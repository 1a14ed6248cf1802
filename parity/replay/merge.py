"""Judge what other machines answered, as if they were runtimes of this one."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mobilesam.errors import BundleError
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.progress import Progress
from mobilesam.runtimes.base import Decoded
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.table import hardware_of
from parity.audits import carry_audits
from parity.cases import Case
from parity.gallery import first_answers
from parity.judging import BundleRun, check_run, empty_report, judge_opened
from parity.photos import PhotoSet, StoredPhoto
from parity.references import PhotoReference
from parity.replay.run import INDEX, STAGES, sha256
from parity.replay.runner import ReplayRunner
from parity.replay.schema import (
    PackedBundle,
    PackedCase,
    PackedPhoto,
    PackedReference,
    PackIndex,
    Result,
    read_pack,
    read_result,
    result_files,
)
from parity.report import Report
from parity.thresholds import Thresholds


@dataclass(frozen=True)
class Answered:
    """A result and the folder it lies in."""

    result: Result
    folder: Path

    @property
    def runtime(self) -> str:
        """The runtime with its compute units, if it has a choice of them, and an emulated CPU."""
        cpu = self.result.emulated_cpu
        where = f"on {cpu}" if cpu else ""
        return " ".join(filter(None, (self.result.runtime, self.result.compute_units, where)))

    @property
    def engine(self) -> str:
        """What computed, and where."""
        machine = self.result.machine
        where = f"{machine.get('system', '?')}, {machine.get('processor', '?')}"
        return f"{self.result.engine} on {where}"

    @property
    def hardware(self) -> str:
        """What the runtime computed with."""
        machine = self.result.machine
        architecture = machine.get("architecture") or machine.get("processor", "?")
        return hardware_of(self.result.runtime, architecture)

    @property
    def notes(self) -> list[str]:
        """What a reader of the row must know."""
        cpu = self.result.emulated_cpu
        return [f"{cpu} was emulated by qemu: its times say nothing of a device."] if cpu else []


def merge(
    folders: Sequence[Path],
    *,
    thresholds: Path | None = None,
    progress: bool = True,
    command: str = "",
) -> Report:
    """Judge every result in copies of one replay folder.

    Each becomes a row of the report. What a machine could not run is a FAIL with its sentence;
    bundles that nobody ran are named among the report's facts.

    Args:
        folders: copies of one replay folder, with results; of the first, the pack itself is read.
        thresholds: TOML file instead of ``parity/thresholds.toml``.
        progress: show progress on the terminal.
        command: the command line that makes this report again, for the report to state.

    Raises:
        BundleError: there are no results, or one is of another pack, incomplete or altered.
        ThresholdError: the thresholds cannot be used.
    """
    limits = Thresholds(thresholds)
    home = folders[0]
    index = read_pack(home)
    pack = sha256(home / INDEX)
    bundles = {bundle.name: bundle for bundle in index.bundles}
    found = [
        Answered(read_result(path, pack), path.parent)
        for folder in folders
        for path in result_files(folder)
    ]
    if not found:
        raise BundleError(
            f"'{home}' has no results: run 'python run.py' in it where the runtimes are"
        )
    for answered in found:
        _require_complete(answered, bundles, index.photos)
    photos = PhotoSet([_photo(home, packed) for packed in index.photos], index.unusable_images)
    report = empty_report(photos, limits, index.references[0], command)
    report.machine["judged"] = f"from a replay folder packed {index.created}"
    ran = {each.result.bundle for each in found}
    unrun = [each.title or name for name, each in bundles.items() if name not in ran]
    if unrun:
        report.machine["not run anywhere"] = ", ".join(unrun)
    labels = _labels(found)
    with Progress(progress) as shown:
        for place, reference in enumerate(index.references):
            own = [
                (answered, label)
                for answered, label in zip(found, labels, strict=True)
                if bundles[answered.result.bundle].reference == place
            ]
            if not own:
                continue
            with _references(home, reference, photos) as references:
                report.gallery |= first_answers(references)
                for answered, label in own:
                    packed = bundles[answered.result.bundle]
                    bundle = Bundle(home / packed.folder)
                    manifest, runtime = bundle.manifest, answered.result.runtime
                    hardware = answered.hardware
                    row = limits.row(manifest.target, manifest.scheme.name, runtime, hardware)
                    judged = check_run(BundleRun(bundle, runtime, row), reference)
                    judged.bundle, judged.runtime = packed.title or packed.name, label
                    judged.engine = answered.engine
                    judged.hardware = hardware
                    judged.measurements = answered.result.measurements
                    report.bundles.append(judged)
                    if not judged.reasons:
                        opened = partial(_replayed, home, index, packed, bundle, answered)
                        judge_opened(judged, opened, references, row, shown)
                        judged.notes += answered.notes
                        if runtime in packed.audits:
                            carry_audits(judged, packed.audits[runtime])
    return report


def _labels(found: Sequence[Answered]) -> list[str]:
    """What tells the rows of one bundle apart: the runtime, and else the folder."""
    names = [(each.result.bundle, each.runtime) for each in found]
    return [
        runtime if names.count((bundle, runtime)) == 1 else f"{runtime} ({each.folder})"
        for each, (bundle, runtime) in zip(found, names, strict=True)
    ]


def _stages(case: PackedCase) -> tuple[str, ...]:
    """What the decoder is asked a case with: PyTorch's embedding, and the bundle's own."""
    return STAGES if case.everyday else STAGES[:1]


def _require_complete(
    answered: Answered, bundles: dict[str, PackedBundle], photos: Sequence[PackedPhoto]
) -> None:
    """Refuse a result that lacks an answer to a case, unless it says that it could not be run."""
    result = answered.result
    packed = bundles.get(result.bundle)
    if packed is None or result.runtime not in packed.runtimes:
        raise BundleError(
            f"{answered.folder} answers for '{result.bundle}' on {result.runtime}, which is not in "
            "this pack"
        )
    if result.error:
        return
    for photo, cases in enumerate(packed.cases):
        wanted = {
            f"encoder-{photo}.npz": {"image_embeddings"},
            f"decoder-{photo}.npz": {
                f"{case}.{stage}.{output}"
                for case in cases
                for stage in _stages(photos[photo].cases[case])
                for output in ("low_res_masks", "iou_predictions")
            },
        }
        for name, arrays in wanted.items():
            if name not in result.files:
                raise BundleError(f"{answered.folder} has no answers in '{name}': run it again")
            try:
                with np.load(answered.folder / name) as stored:
                    missing = sorted(arrays - set(stored.files))
            except (OSError, ValueError, BadZipFile):
                missing = sorted(arrays)
            if missing:
                raise BundleError(
                    f"{answered.folder / name} has no answer '{missing[0]}': run it again"
                )


def _replayed(
    home: Path, index: PackIndex, packed: PackedBundle, bundle: Bundle, answered: Answered
) -> ReplayRunner:
    """A runner that knows what this result answers."""
    runner = ReplayRunner(bundle, answered.engine, answered.result.error)
    if answered.result.error:
        return runner
    answers = index.references[packed.reference].answers
    for photo, cases in enumerate(packed.cases):
        encoded, decoded = (
            answered.folder / f"{part}-{photo}.npz" for part in ("encoder", "decoder")
        )
        runner.record("encoder", _arrays(home / packed.images[photo]), partial(_arrays, encoded))
        embeddings = (
            _arrays(home / answers[photo])["image_embeddings"],
            _arrays(encoded)["image_embeddings"],
        )
        prompts = _arrays(home / packed.prompts[photo])
        for case in cases:
            stages = _stages(index.photos[photo].cases[case])
            for stage, embedding in zip(stages, embeddings, strict=False):
                inputs = {"image_embeddings": embedding} | _under(f"{case}.", prompts)
                load = partial(_arrays, decoded, f"{case}.{stage}.")
                runner.record("decoder", inputs, load)
    return runner


def _arrays(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays of a file whose names have a prefix, without it."""
    with np.load(path) as stored:
        return _under(prefix, stored)


def _under(
    prefix: str, arrays: "dict[str, np.ndarray] | np.lib.npyio.NpzFile"
) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)}


@contextmanager
def _references(
    home: Path, packed: PackedReference, photos: PhotoSet
) -> Iterator[list[PhotoReference]]:
    """The reference's packed answers, with the masks that they make."""
    with tempfile.TemporaryDirectory(prefix="mobilesam-replay-") as folder:
        references = []
        for place, photo in enumerate(photos.photos):
            stored = _arrays(home / packed.answers[place])
            pairs = zip(stored["low_res_masks"], stored["iou_predictions"], strict=True)
            answers = iter([Decoded(low_res, iou) for low_res, iou in pairs])
            cases = photo.cases(packed.image_size, None)
            reference = PhotoReference(photo, cases, Path(folder), place)
            reference.keep(stored["image_embeddings"], partial(_next, answers))
            references.append(reference)
        yield references


def _next(answers: Iterator[Decoded], _: Case) -> Decoded:
    return next(answers)


def _cases(home: Path, about: PackedPhoto, image_size: int, _slots: int | None) -> list[Case]:
    frame = Frame((about.height, about.width), image_size)
    human = _arrays(home / about.file).get("human_mask")
    return [
        Case(
            image=about.name,
            name=case.name,
            prompt_type=case.prompt_type,
            prompt=Prompt(
                np.array(case.point_coords, np.float32).reshape(-1, 2),
                np.array(case.point_labels, np.float32),
                None if case.box is None else np.array(case.box, np.float32),
            ),
            frame=frame,
            human_mask=human if case.human else None,
            refines=case.refines,
            packing=case.packing,
            everyday=case.everyday,
        )
        for case in about.cases
    ]


def _photo(home: Path, about: PackedPhoto) -> StoredPhoto:
    """The packed photo with its packed cases."""
    return StoredPhoto(about.name, partial(_rgb, home / about.file), partial(_cases, home, about))


def _rgb(path: Path) -> np.ndarray:
    return _arrays(path)["rgb"]
