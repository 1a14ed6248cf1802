"""Which PyTorch model a bundle is held against."""

from dataclasses import dataclass
from pathlib import Path

from mobilesam.errors import CheckpointError
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.weights.checkpoints import KEY_MARK, KNOWN_NAMES, split_key


@dataclass(frozen=True)
class Origin:
    """What a reference model is loaded from.

    Attributes:
        weights, variant, image_size: as of :func:`mobilesam.load_model`.
        sha256: of the bundle's weights, where they come from a file: of several sets in it, it
            tells which is meant.
        photo_size: H, W of the only photos that the bundle takes, which the reference is asked
            then; None: of any size.
    """

    weights: str
    variant: str
    image_size: int
    sha256: str = ""
    photo_size: tuple[int, int] | None = None

    @classmethod
    def of(cls, bundle: Bundle, weights: str | Path | None) -> "Origin":
        """Where a bundle's manifest says its weights came from, unless they are given.

        A relative path in the manifest is looked for here, then from the bundle's folder upwards.

        Raises:
            CheckpointError: no weights are given and the manifest's file is not there.
        """
        manifest = bundle.manifest
        if weights is not None:
            chosen = str(weights)
        elif manifest.weights.name in KNOWN_NAMES:
            chosen = manifest.weights.name
        else:
            chosen = _recorded(bundle)
        sha256 = "" if chosen in KNOWN_NAMES else manifest.weights.sha256
        return cls(chosen, manifest.variant, manifest.image_size, sha256, manifest.photo_size)

    def load(self) -> MobileSAM:
        """The reference model.

        Raises:
            CheckpointError: the weights cannot be loaded.
        """
        if not self.sha256:
            return load_model(self.weights, self.variant, self.image_size)
        return load_model(self.weights, self.variant, self.image_size, weights_sha256=self.sha256)

    def taken(self, model: MobileSAM) -> str:
        """The weights by name or path, with the key of those that the loaded model has."""
        key = model.weights.key if model.weights else ""
        return f"{split_key(self.weights)[0]}{KEY_MARK}{key}" if key else self.weights


def _recorded(bundle: Bundle) -> str:
    """The file that a manifest says the weights came from, with the key of the set in it."""
    record = bundle.manifest.weights
    source = Path(record.source).expanduser()
    folder = bundle.path.resolve()
    places = [source]
    for parent in (folder, *folder.parents):
        places += [parent / source, parent / source.name]
    for place in places:
        if place.is_file():
            return f"{place}{KEY_MARK}{record.key}" if record.key else str(place)
    raise CheckpointError(
        f"The bundle '{bundle.path}' was exported from the weights '{record.source}', which are "
        "not there: give the checkpoint with --weights."
    )
