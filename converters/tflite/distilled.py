"""An encoder distilled for a scheme: tuned weights that a quantized file answers better with.

``mobilesam distill`` writes them where its recipe names a scheme. A bundle made of them still
claims to answer as the weights do that they were distilled from, and is judged against those.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from converters.plan import Plan
from converters.schemes import MIXED
from converters.spec import DistilledRecord
from converters.tflite.quantization import PLANS
from converters.tflite.weights import plan_of, roundings_of
from mobilesam.errors import CheckpointError, InputError
from mobilesam.files import sha256_of
from mobilesam.model.sam import MobileSAM
from mobilesam.weights.checkpoints import fit_state_dict, load_state_dict
from mobilesam.weights.files import read_metadata

TARGET = "tflite"
"""The target whose rounding training knows."""


@dataclass(frozen=True)
class Distilled:
    """A file of tuned weights.

    Attributes:
        scheme: that they were distilled for.
        teacher_sha256: of the weights they were distilled from, as manifests have it.
        state: of the whole model, of which the image encoder counts.
    """

    record: DistilledRecord
    scheme: str
    teacher_sha256: str
    state: dict[str, Tensor]

    def tuned(
        self,
        model: MobileSAM,
        sha256: str,
        chosen: Iterable[tuple[str, str]],
        plan: Plan | None = None,
    ) -> MobileSAM:
        """A copy of a model with the tuned image encoder.

        Args:
            model: with the weights that it was distilled from.
            sha256: of the model's weights.
            chosen: every (target, scheme) that is exported.
            plan: of scheme ``mixed``.

        Raises:
            InputError: the tuned weights were distilled from others than the model's, do not fit
                it, or a scheme rounds its encoder in another way than they were distilled for.
        """
        if sha256 != self.teacher_sha256:
            raise InputError(
                f"'{self.record.name}' was distilled from weights {self.teacher_sha256[:12]}, and "
                f"these are {sha256[:12]}: give --weights its teacher"
            )
        trained = roundings_of(model.image_encoder, plan_of(self.scheme))
        for target, scheme in chosen:
            rounds = plan if scheme == MIXED else PLANS.get(scheme)
            if (
                target != TARGET
                or rounds is None
                or roundings_of(model.image_encoder, rounds) != trained
            ):
                raise InputError(
                    f"'{self.record.name}' was distilled for the encoder's weights as {TARGET} "
                    f"{self.scheme} rounds them, which {target} {scheme} does not: export with "
                    f"--target {TARGET} --scheme {self.scheme}"
                )
        tuned, whole = deepcopy(model), deepcopy(model)
        try:
            fit_state_dict(whole, self.state)
        except CheckpointError as error:
            raise InputError(f"'{self.record.name}' does not fit the model: {error}") from None
        tuned.image_encoder = whole.image_encoder
        return tuned


def read_distilled(path: Path) -> Distilled:
    """The file that ``mobilesam distill`` wrote for a scheme.

    Raises:
        InputError: there is no such file, or it is another.
    """
    if not path.is_file():
        raise InputError(f"there is no file of distilled weights at '{path}'")
    about = read_metadata(path)
    if not {"scheme", "teacher_sha256"} <= about.keys():
        raise InputError(
            f"'{path}' does not say which scheme it was distilled for: give a file that "
            "`mobilesam distill` wrote from a recipe with a scheme"
        )
    try:
        state, _ = load_state_dict(path)
    except CheckpointError as error:
        raise InputError(str(error)) from None
    record = DistilledRecord(name=path.name, sha256=sha256_of(path))
    return Distilled(record, about["scheme"], about["teacher_sha256"], state)
