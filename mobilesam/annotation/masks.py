"""The model that turns boxes into masks: known by its settings, opened in each worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.files import sha256_of
from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.predictor import Predictor
from mobilesam.runtimes.checked import torch_threads
from mobilesam.sam.opening import UPSTREAM_NAME, device_of, open_predictor
from mobilesam.weights.checkpoints import resolve, split_key


@dataclass(frozen=True)
class MaskModel:
    """A checkpoint or a bundle; it is pickled and sent to workers.

    Attributes:
        path: of the checkpoint, with the key of its weights if one was given, or of the bundle's
            folder.
        image_size: side of a checkpoint's frame; None for 1024, or the bundle's own.
        runtime: of a bundle; None for its first.
        device: where PyTorch computes; empty for the CPU.
        settings: what other models are told by from this one, for the run's record.
    """

    path: str
    image_size: int | None
    runtime: str | None
    device: str
    settings: dict[str, Any]

    @classmethod
    def named(
        cls, model: str | Path, image_size: int | None, runtime: str | None, device: str
    ) -> "MaskModel":
        """What a user names: "demo", "official", a checkpoint or the folder of a bundle.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be downloaded.
        """
        folder = Path(model).expanduser()
        if folder.is_dir():
            path, name = str(folder.resolve()), folder.resolve().name
            digest = sha256_of(manifest) if (manifest := folder / MANIFEST_NAME).is_file() else ""
        else:
            weights, key = split_key(model)
            if weights == UPSTREAM_NAME and not Path(weights).exists():
                weights = "official"
            file = resolve(weights).resolve()
            path = f"{file}#{key}" if key else str(file)
            name, digest = str(model) if key else file.name, sha256_of(file)
        settings = {
            "name": name,
            "sha256": digest,
            "image_size": image_size,
            "runtime": runtime,
            "device": device or "cpu",
        }
        return cls(path, image_size, runtime, device, settings)

    @contextmanager
    def open(self) -> Iterator[ImagePredictor]:
        """Load it, to be run by one thread.

        Raises:
            MobileSAMError: as :class:`mobilesam.SAM` does.
        """
        with (
            torch_threads(1),
            open_predictor(
                self.path, imgsz=self.image_size, runtime=self.runtime, threads=1
            ) as predictor,
        ):
            if isinstance(predictor, Predictor):
                predictor.model.to(device_of(self.device or "cpu"))
            yield predictor
