"""Write a replay folder: all that another machine needs to answer every case."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from mobilesam import __version__
from mobilesam.bundle.contract import Contract
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import BundleError, InputError
from mobilesam.files import new_folder
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.asking import photo_inputs
from parity.audits import add_audits
from parity.bundles import BundleSource, open_bundles, require_any_photo
from parity.cases import Case, default_photos
from parity.image_folder import folder_photos
from parity.judging import BundleRun, empty_bundle_report
from parity.naming import Named, distinct_names
from parity.origin import Origin
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.replay import run
from parity.replay.runner import ReplayRunner
from parity.replay.schema import (
    PackedBundle,
    PackedCase,
    PackedPhoto,
    PackedReference,
    PackIndex,
)
from parity.schema import BundleReport
from parity.thresholds import Thresholds

Arrays = dict[str, np.ndarray]


@dataclass
class Packed:
    """A replay folder that was written.

    Attributes:
        size_bytes: by the first part of the path: ``bundles``, ``answers``, ...
    """

    folder: Path
    index: PackIndex
    size_bytes: dict[str, int] = field(default_factory=dict)


def pack(
    bundles: BundleSource | Sequence[BundleSource],
    out: Path,
    *,
    images: Path | None = None,
    brief: bool = False,
    weights: str | Path | None = None,
    skip_unusable: bool = False,
    progress: bool = True,
    command: str = "",
) -> Packed:
    """Ask the reference every case, and write what it answers with the bundles and their inputs.

    Args:
        bundles: one or several, opened or as their folders; also folders that hold bundles.
        out: folder that does not exist yet, or is empty.
        images: folder of photos instead of the built-in ones.
        brief: only the first photo and a prompt of each kind, for slow machines.
        weights: of the reference; None takes what each manifest names.
        skip_unusable: go on without photos that cannot be used; the report will list them.
        progress: show progress on the terminal.
        command: the command line that packs this folder again, for the index to state.

    Raises:
        BundleError: no bundle was given, one was altered or is not of the reference's weights, or
            ``run.py`` knows none of its runtimes.
        CheckpointError: the reference's weights cannot be loaded.
        InputError: ``out`` has something in it or cannot be written, or the images cannot be used,
            or a bundle takes photos of one size only.
    """
    opened = open_bundles(bundles)
    titles = distinct_names([Named(bundle.name, str(bundle.path)) for bundle in opened])
    runtimes = [_replayable(bundle) for bundle in opened]
    for bundle in opened:
        require_any_photo(bundle, "the photos of a pack are of many sizes")
    origins = [Origin.of(bundle, weights) for bundle in opened]
    given = default_photos() if images is None else folder_photos(images)
    if brief:
        given = given[:1]
    sides = sorted({origin.image_size for origin in origins})
    with Progress(progress) as shown, ExitStack() as kept:
        with shown.task("photos", len(given)) as step:
            stored = kept.enter_context(
                stored_photos(
                    given, sides, skip_unusable=skip_unusable, strips=not brief, advance=step
                )
            )
        if brief:
            few = [replace(each, cases=partial(_each_kind, each.cases)) for each in stored.photos]
            stored = stored._replace(photos=few)
        models = {origin: origin.load() for origin in dict.fromkeys(origins)}
        for bundle, origin in zip(opened, origins, strict=True):
            _require_intact(bundle, models[origin])
        folder = kept.enter_context(new_folder(out))
        writer = _Writer(folder)
        index = PackIndex(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
            command=command,
            photos=[],
            references=[],
            bundles=[],
            files={},
        )
        slots = max(bundle.manifest.contract.slots for bundle in opened)
        for origin, model in models.items():
            with (
                ReferenceRunner(model) as reference,
                shown.task("PyTorch reference", len(stored.photos)) as step,
                reference_answers(reference, stored, step, slots=slots) as answers,
            ):
                if not index.photos:
                    index.photos = [writer.photo(i, answer) for i, answer in enumerate(answers)]
                if len(answers) < len(index.photos):
                    raise InputError("photos vanished from the temporary folder: pack again")
                place = len(index.references)
                index.references.append(writer.reference(place, origin, model, answers))
                index.bundles += [
                    writer.bundle(bundle, title, runtime, place, answers).model_copy(
                        update={"audits": _audits(bundle, runtime, model)}
                    )
                    for bundle, title, runtime, own in zip(
                        opened, titles, runtimes, origins, strict=True
                    )
                    if own == origin
                ]
        index.unusable_images = stored.unusable
        shutil.copyfile(run.__file__, folder / "run.py")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        index.files = {p.relative_to(folder).as_posix(): run.sha256(p) for p in paths}
        (folder / run.INDEX).write_text(index.model_dump_json(indent=1) + "\n", "utf-8")
        sizes: dict[str, int] = {}
        for path in paths:
            kind = path.relative_to(folder).parts[0]
            sizes[kind] = sizes.get(kind, 0) + path.stat().st_size
    return Packed(out, index, sizes)


class _Writer:
    """Writes the parts of a replay folder; what several bundles share is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()
        self._contracts: list[Contract] = []

    def photo(self, place: int, kept: PhotoReference) -> PackedPhoto:
        rgb = kept.photo.pixels()
        cases = [answer.case for answer in kept.answers()]
        humans = [case.human_mask for case in cases if case.human_mask is not None]
        arrays = {"rgb": rgb} | ({"human_mask": humans[0]} if humans else {})
        height, width = rgb.shape[:2]
        return PackedPhoto(
            name=kept.photo.name,
            height=height,
            width=width,
            file=self._save(f"photos/{place}.npz", arrays),
            cases=[_packed_case(case) for case in cases],
        )

    def reference(
        self, place: int, origin: Origin, model: MobileSAM, answers: Sequence[PhotoReference]
    ) -> PackedReference:
        files = []
        for index, kept in enumerate(answers):
            own = list(kept.answers())
            arrays = {
                "image_embeddings": kept.embedding(),
                "low_res_masks": np.stack([answer.low_res for answer in own]),
                "iou_predictions": np.stack([answer.iou for answer in own]),
            }
            files.append(self._save(f"answers/{place}/{index}.npz", arrays, compressed=False))
        return PackedReference(
            weights=model.weights,
            variant=origin.variant,
            image_size=origin.image_size,
            answers=files,
        )

    def bundle(
        self,
        bundle: Bundle,
        title: str,
        runtimes: list[str],
        reference: int,
        answers: Sequence[PhotoReference],
    ) -> PackedBundle:
        name = _unused(bundle.name, self._names)
        self._names.add(name)
        folder = self.folder / "bundles" / name
        folder.mkdir(parents=True)
        for path in (MANIFEST_NAME, *(record.path for record in bundle.manifest.files)):
            source, target = bundle.path / path, folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
        runner = ReplayRunner(bundle)
        contract = bundle.manifest.contract
        frames = f"images/{contract.image_size}-{contract.input_variant}"
        if contract.interface != "mobilesam":
            frames += f"-{contract.interface}"
        if contract.channel_order != "rgb":
            frames += f"-{contract.channel_order}"
        if contract not in self._contracts:
            self._contracts.append(contract)
        prompts = f"prompts/{reference}-{self._contracts.index(contract)}"
        files: dict[str, list[str]] = {"images": [], "prompts": []}
        fitting = []
        for index, kept in enumerate(answers):
            cases = [i for i, case in enumerate(kept.cases) if case.slots <= contract.slots]
            fitting.append(cases)
            image = f"{frames}/{index}.npz"
            if not (self.folder / image).exists():
                self._save(image, _narrowed(photo_inputs(runner, kept.photo.pixels())))
            prompt = f"{prompts}/{index}.npz"
            if not (self.folder / prompt).exists():
                self._save(
                    prompt,
                    {
                        f"{i}.{name}": value
                        for i in cases
                        for name, value in kept.cases[i].inputs(runner).items()
                    },
                )
            files["images"].append(image)
            files["prompts"].append(prompt)
        return PackedBundle(
            name=name,
            title=title,
            folder=f"bundles/{name}",
            runtimes=runtimes,
            reference=reference,
            cases=fitting,
            images=files["images"],
            prompts=files["prompts"],
        )

    def _save(self, name: str, arrays: Arrays, *, compressed: bool = True) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save = np.savez_compressed if compressed else np.savez
        save(path, allow_pickle=False, **arrays)
        return name


def _each_kind(
    cases: Callable[[int, int | None], list[Case]], image_size: int, slots: int | None
) -> list[Case]:
    """The first case of each kind of prompt."""
    first: dict[str, Case] = {}
    for case in cases(image_size, slots):
        first.setdefault(case.prompt_type, case)
    return list(first.values())


def _audits(bundle: Bundle, runtimes: Sequence[str], model: MobileSAM) -> dict[str, BundleReport]:
    """What the bundle's files hold, by runtime: where they are judged there is no model."""
    row = Thresholds().row(bundle.manifest.target, bundle.manifest.scheme.name)
    made = {}
    for runtime in runtimes:
        made[runtime] = empty_bundle_report(BundleRun(bundle, runtime, row))
        add_audits(made[runtime], bundle, runtime, model)
    return made


def _packed_case(case: Case) -> PackedCase:
    prompt = case.prompt
    return PackedCase.model_validate(
        {
            "name": case.name,
            "prompt_type": case.prompt_type,
            "point_coords": prompt.point_coords.tolist(),
            "point_labels": prompt.point_labels.tolist(),
            "box": None if prompt.box is None else prompt.box.tolist(),
            "human": case.human_mask is not None,
            "refines": prompt.mask_input is not None,
            "packing": case.packing,
            "everyday": case.everyday,
        }
    )


def _narrowed(arrays: Arrays) -> Arrays:
    """The same, as uint8 where every value is one: a photo's pixels take a quarter of the room."""
    narrow = {name: np.clip(value, 0, 255).astype(np.uint8) for name, value in arrays.items()}
    return {
        name: narrow[name] if np.array_equal(narrow[name], value) else value
        for name, value in arrays.items()
    }


def _replayable(bundle: Bundle) -> list[str]:
    """The bundle's runtimes that ``run.py`` knows."""
    found = [runtime for runtime in bundle.runtimes if runtime in run.RUNTIMES]
    if not found:
        raise BundleError(
            f"{bundle.path} runs on {', '.join(bundle.runtimes)}, and a replay folder knows only "
            f"{', '.join(run.RUNTIMES)}"
        )
    return found


def _require_intact(bundle: Bundle, model: MobileSAM) -> None:
    """Refuse now what would fail unrun when the results are judged."""
    bundle.verify()
    stated, actual = bundle.manifest.weights.sha256, model.weights and model.weights.sha256
    if stated != actual:
        raise BundleError(
            f"{bundle.path} was exported from the weights {stated[:12]}…, and the reference has "
            f"{(actual or 'none')[:12]}…: name its own with --weights"
        )


def _unused(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken."""
    names = (name if count == 1 else f"{name}-{count}" for count in range(1, len(taken) + 2))
    return next(each for each in names if each not in taken)
