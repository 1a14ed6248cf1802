"""One bundle, one photo, one prompt: every op of its files against PyTorch."""

import os
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.layer_names import module_path
from mobilesam import __version__
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.inference.images import ImageSource, load_image
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.model.sam import MobileSAM
from mobilesam.progress import Progress, Step
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.bundle import Bundle
from parity.bisection.alignment import Aligned, Matches
from parity.bisection.engine import Operation
from parity.bisection.formats import open_engine, require_format
from parity.bisection.op_errors import measure
from parity.bisection.report import BisectReport
from parity.bisection.schema import ComponentRecord, OpRecord
from parity.bisection.sides import PromptedImage, Sides
from parity.bisection.verdict import conclude, find_fault
from parity.headroom import headroom_bits
from parity.origin import Origin
from parity.thresholds import LayerLimits, Thresholds


def bisect(
    bundle: str | Path | Bundle,
    image: ImageSource,
    *,
    point_coords: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    components: Sequence[Component] = COMPONENTS,
    weights: str | Path | None = None,
    thresholds: str | Path | None = None,
    progress: bool = True,
) -> BisectReport:
    """Hold every op of a bundle's files against PyTorch, on one photo and one prompt.

        report = bisect("exports/coreml-fp16", "photo.jpg", point_coords=[[320, 240]])
        print(report.conclusion)
        report.save("reports/bisect")

    Args:
        bundle: opened, or its folder; of a target that :data:`parity.bisection.formats.FORMATS`
            knows.
        image: the photo, as :func:`mobilesam.inference.images.load_image` takes it.
        point_coords: [N, 2], x and y in pixels of the photo.
        point_labels: [N], 1 foreground or 0 background; None: all are foreground.
        box: [4], x1, y1, x2, y2 in pixels of the photo.
        components: which files to look into.
        weights: of the PyTorch model; None takes what the manifest names.
        thresholds: TOML file instead of ``parity/thresholds.toml``.
        progress: show progress on the terminal.

    Returns:
        Every op with its errors, the first fault if there is one, and a sentence that says so.

    Raises:
        BundleError: the bundle is incomplete, a file cannot be read, or none of its values can be
            told.
        ImageError, PromptError: the photo or the prompt cannot be used.
        InputError: the values inside files of this target cannot be read.
        CheckpointError: the weights cannot be loaded.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    opened.require_files()
    manifest = opened.manifest
    table = Thresholds(None if thresholds is None else Path(thresholds))
    limits = table.row(manifest.target, manifest.scheme.name).layers
    pixels = load_image(image)
    if point_coords is not None and point_labels is None:
        point_labels = np.ones(len(np.asarray(point_coords).reshape(-1, 2)))
    prompt = make_prompt(
        point_coords,
        point_labels,
        box,
        original_size=pixels.shape[:2],
        low_res_size=manifest.contract.low_res_size,
    )
    require_format(opened)
    name = Path(image).name if isinstance(image, str | os.PathLike) else "image"
    subject = PromptedImage(name, pixels, prompt)
    model = Origin.of(opened, weights).load()
    with Progress(progress) as shown:
        return bisect_model(opened, model, subject, limits, components=components, progress=shown)


def bisect_model(
    bundle: Bundle,
    model: MobileSAM,
    subject: PromptedImage,
    limits: LayerLimits | None,
    *,
    components: Sequence[Component] = COMPONENTS,
    progress: Progress | None = None,
) -> BisectReport:
    """Run a bundle's files and the model side by side.

    The decoder is fed PyTorch's embedding, so that what is wrong in the encoder does not reach it,
    and, unless the prompt has a mask input, the mask that PyTorch draws first: as in refining it,
    so that every layer counts.

    Args:
        bundle: of a target that :data:`parity.bisection.formats.FORMATS` knows.
        model: what the bundle was exported from.
        limits: beyond which an op is a fault; None ranks ops only.
        components: which files.
        progress: shown meanwhile, entered already.

    Raises:
        InputError: the target's values cannot be read.
        BundleError: a file cannot be read, or none of its values can be told.
        PromptError: the prompt does not fit the bundle's slots.
    """
    shown = progress or Progress(False)
    sides = Sides(model, bundle, subject)
    runtime = bundle.runtimes[0]
    parts = []
    for component in components:
        opened = open_engine(bundle, component, runtime, sides.program(component))
        engine = opened.engine
        with shown.task(f"{bundle.name} {component}", len(engine.operations)) as step:
            ops = examine(opened, sides.inputs(component), step)
        parts.append(
            ComponentRecord(
                component=component,
                file=str(bundle.file(component, runtime)),
                engine=engine.title,
                ops=ops,
                fault=find_fault(engine, ops, limits),
            )
        )
    report = BisectReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
        bundle=bundle.name,
        path=str(bundle.path),
        target=bundle.manifest.target,
        scheme=bundle.manifest.scheme.name,
        runtime=runtime,
        weights=bundle.manifest.weights.name,
        image=subject.name,
        prompt=_in_words(subject.prompt),
        limits=limits,
        notes=_notes(bundle, model),
        components=parts,
    )
    report.conclusion = conclude(report)
    return report


def examine(opened: Aligned, inputs: Arrays, step: Step = lambda _: None) -> list[OpRecord]:
    """Run one file beside the model: a record of each op, in order.

    Args:
        opened: as :func:`parity.bisection.formats.open_engine` gives it.
        inputs: by contract name.
        step: called with each op's name.

    Raises:
        BundleError: the file cannot be evaluated.
    """
    pairs = zip(opened.engine.operations, measure(opened, inputs, step), strict=True)
    records = []
    module = ""
    # In a float16 file what stays float32 cannot overflow; a float32 file may become float16.
    halves = {"float16"} if _gives(opened.engine.operations, {"float16"}) else {"float32"}
    for place, (operation, found) in enumerate(pairs):
        module = _module(operation, opened.matches) or module
        records.append(
            OpRecord(
                index=place,
                name=operation.name,
                op_type=operation.op_type,
                module=module,
                aligned=found.aligned,
                finite=found.finite,
                largest=found.largest,
                headroom_bits=headroom_bits(found.largest) if _gives([operation], halves) else None,
                error_before=found.before,
                error_after=found.after,
                local_error=found.local,
                rounding_error=found.rounding,
                excess=found.excess,
            )
        )
    return records


def _gives(operations: Sequence[Operation], dtypes: Container[str]) -> bool:
    """Whether any of the operations has an output of one of these dtypes."""
    return any(value.dtype in dtypes for op in operations for value in op.outputs)


def _module(operation: Operation, matches: Matches) -> str:
    """Path of the module whose value the op gives; empty where its outputs are no nodes."""
    if operation.outputs[0].name not in matches:
        return operation.scope
    node = matches[operation.outputs[0].name].node
    # A part of an op with several outputs has no stack of its own.
    return module_path(node) or next(map(module_path, node.all_input_nodes), "")


def _in_words(prompt: Prompt) -> str:
    """The prompt in words, for the report."""
    points = [
        f"point {x:g},{y:g} ({'foreground' if label else 'background'})"
        for (x, y), label in zip(prompt.point_coords, prompt.point_labels, strict=True)
    ]
    box = [] if prompt.box is None else ["box " + ",".join(f"{x:g}" for x in prompt.box)]
    return "; ".join([*points, *box])


def _notes(bundle: Bundle, model: MobileSAM) -> list[str]:
    """Warnings where files were altered or the weights differ; neither ends the comparison."""
    notes = [f"{path} is not as exported: its SHA-256 differs" for path in bundle.altered()]
    stated = bundle.manifest.weights.sha256
    actual = model.weights.sha256 if model.weights else stated
    if stated != actual:
        notes.append(f"exported from weights {stated[:12]}, PyTorch has {actual[:12]}")
    return notes
