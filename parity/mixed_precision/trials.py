"""Plans tried in memory: files quantized, run on photos, masks compared with PyTorch's."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from converters.plan import Plan
from converters.tflite.quantization import Ranges, groups_of, quantized
from mobilesam.bundle.contract import COMPONENTS, Component, Contract, pack_image, pack_prompt
from mobilesam.files import write_whole
from parity.metrics import iou
from parity.references import PhotoReference

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """What a plan came to.

    Attributes:
        miou: mean IoU of the masks with PyTorch's, at the low-res logits' size (S/4 square), over
            all four masks of every case but degenerate ones.
        p5: their 5th percentile.
        size_bytes: of the files that were tried.
        seconds: of these files, one image and one prompt, the least of :data:`RUNS` runs; None if
            they were not timed.
    """

    miou: float
    p5: float
    size_bytes: int
    seconds: float | None = None


RUNS = 5
"""Runs that are timed; the least of them is steady to about a hundredth of the encoder's time."""


class Trials:
    """Tries plans of target ``tflite`` on photos, and remembers each on disk.

    Args:
        contents: float32 file of each component.
        contract: of these files.
        references: PyTorch's answers, which must outlive this.
        memory: JSON file to remember trials in, so that an interrupted search goes on; None: not.
        threads: of the runtime.
        ranges: of each file, for precisions with calibrated activations.
        timed: also measure seconds.
    """

    def __init__(
        self,
        contents: Mapping[Component, bytes],
        contract: Contract,
        references: Sequence[PhotoReference],
        *,
        memory: Path | None = None,
        threads: int | None = None,
        ranges: Mapping[Component, Ranges] | None = None,
        timed: bool = False,
    ) -> None:
        self.ranges = ranges or {}
        self.timed = timed
        self.contents = contents
        self.contract = contract
        self.references = references
        self.threads = threads
        self.groups: dict[Component, dict[str, int]] = {
            component: groups_of(contents[component]) for component in COMPONENTS
        }
        self._memory = memory
        # Of everything that a trial depends on but the plan. PyTorch's answers are not among it:
        # their last bits differ from run to run, and the files say which model they are of.
        total = hashlib.sha256()
        for component in COMPONENTS:
            total.update(hashlib.sha256(contents[component]).digest())
        for reference in references:
            total.update(reference.photo.name.encode() + reference.photo.pixels().tobytes())
            total.update(repr([case.name for case in reference.cases]).encode())
        self._about = total.hexdigest()
        self._known: dict[str, Trial] = {}
        if memory is not None and memory.is_file():
            stored = json.loads(memory.read_text("utf-8"))
            self._known = {key: Trial(**trial) for key, trial in stored.items()}

    def known(self, plan: Plan, components: Sequence[Component] = COMPONENTS) -> bool:
        """Whether a trial was made before."""
        trial = self._known.get(self._key(plan, components))
        return trial is not None and (trial.seconds is not None or not self.timed)

    def try_plan(self, plan: Plan, components: Sequence[Component] = COMPONENTS) -> Trial:
        """Quantize and run; a component that is not named is PyTorch's, or stays float32.

        Args:
            plan: of precisions; those with calibrated activations need ``ranges``.
            components: which to quantize.
        """
        key = self._key(plan, components)
        if not self.known(plan, components):
            self._known[key] = self._run(plan, components)
            self._remember()
        return self._known[key]

    def _key(self, plan: Plan, components: Sequence[Component]) -> str:
        told = json.dumps([self._about, plan.model_dump(mode="json"), sorted(components)])
        return hashlib.sha256(told.encode()).hexdigest()

    def _remember(self) -> None:
        if self._memory is None:
            return
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        stored = {key: asdict(trial) for key, trial in self._known.items()}
        write_whole(self._memory, json.dumps(stored, indent=1))

    def _run(self, plan: Plan, components: Sequence[Component]) -> Trial:
        files = {
            component: quantized(self.contents[component], plan, self.ranges.get(component))
            if component in components
            else self.contents[component]
            for component in COMPONENTS
        }
        encoder = LiteRTFile(files["encoder"], self.threads) if "encoder" in components else None
        decoder = LiteRTFile(files["decoder"], self.threads)
        found = [
            iou(mine, theirs)
            for reference in self.references
            for mine, theirs in self._masks(reference, encoder, decoder)
        ]
        timed = [encoder, decoder] if "decoder" in components else [encoder]
        return Trial(
            miou=float(np.mean(found)),
            p5=float(np.percentile(found, 5)),
            size_bytes=sum(len(files[component]) for component in components),
            seconds=sum(file.seconds() for file in timed if file) if self.timed else None,
        )

    def _masks(
        self, reference: PhotoReference, encoder: "LiteRTFile | None", decoder: "LiteRTFile"
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Masks of the files and of PyTorch, the degenerate ones left out."""
        embedding = reference.embedding()
        if encoder is not None:
            image = pack_image(reference.photo.pixels(), self.contract)
            embedding = encoder.run(image)["image_embeddings"]
        pairs = []
        for answer in reference.answers():
            case = answer.case
            if case.slots > self.contract.slots:
                continue
            prompt = pack_prompt(case.prompt, case.frame, self.contract)
            low_res = decoder.run({"image_embeddings": embedding, **prompt})["low_res_masks"][0]
            pairs += [
                (low_res[index] > 0, answer.low_res[index] > 0)
                for index in range(len(low_res))
                if not answer.degenerate[index]
            ]
        return pairs


class LiteRTFile:
    """A TFLite file in memory, run by LiteRT with XNNPACK.

    Args:
        content: with one signature.
        threads: None leaves the runtime's default.
    """

    def __init__(self, content: bytes, threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._content = content  # the interpreter reads it in place
        interpreter = Interpreter(model_content=content, num_threads=threads)
        (name,) = interpreter.get_signature_list()
        self._signature = interpreter.get_signature_runner(name)
        self._given: Arrays = {}

    def run(self, inputs: Arrays) -> Arrays:
        """Run on contract tensors."""
        self._given = inputs
        outputs: Arrays = self._signature(**inputs)
        return outputs

    def seconds(self) -> float:
        """The least time of :data:`RUNS` runs on what it was last given."""
        taken = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            self._signature(**self._given)
            taken.append(time.perf_counter() - begin)
        return min(taken)
