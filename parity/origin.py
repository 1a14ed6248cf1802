"""Which PyTorch model a bundle is held against."""

from dataclasses import dataclass
from pathlib import Path

from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import KNOWN_NAMES


@dataclass(frozen=True)
class Origin:
    """What a reference model is loaded from; the arguments of :func:`mobilesam.load_model`."""

    weights: str
    variant: str
    image_size: int

    @classmethod
    def of(cls, bundle: Bundle, weights: str | Path | None) -> "Origin":
        """Where a bundle's manifest says its weights came from, unless they are given."""
        manifest = bundle.manifest
        recorded = manifest.weights.name
        stated = recorded if recorded in KNOWN_NAMES else manifest.weights.source
        chosen = stated if weights is None else str(weights)
        return cls(chosen, manifest.variant, manifest.image_size)

    def load(self) -> MobileSAM:
        """The reference model.

        Raises:
            CheckpointError: the weights cannot be loaded.
        """
        return load_model(self.weights, self.variant, self.image_size)
