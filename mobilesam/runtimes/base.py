"""What every runner answers: an image embedding for an image, logits for a prompt."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from mobilesam.bundle.contract import COMPONENTS, Component, pack_image, pack_prompt
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import BundleError
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame

if TYPE_CHECKING:
    from torch import Tensor

Arrays = Mapping[str, np.ndarray]


class Decoded(NamedTuple):
    """What a decoder answers, float32: four masks, or one where the file itself chooses.

    Attributes:
        low_res: logits [4 or 1, S/4, S/4].
        iou: predictions [4 or 1].
        masks: logits [1, H, W] at the photo's size, where the file makes them itself.
        frame_mask: [1, S, S], 255 in the mask and 0 elsewhere, where the file makes it.
    """

    low_res: np.ndarray
    iou: np.ndarray
    masks: np.ndarray | None = None
    frame_mask: np.ndarray | None = None


class Runner(ABC):
    """One model on one runtime, opened with ``with``.

    Subclasses load files in :meth:`load`, free them in :meth:`unload` and run raw contract tensors
    in :meth:`run`. Everything an app does around the files is in :meth:`encode` and :meth:`decode`.
    """

    name: str
    """Name of the runtime, as in the manifest."""

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unload()

    @property
    @abstractmethod
    def image_size(self) -> int:
        """S."""

    @abstractmethod
    def load(self) -> None:
        """Load the files."""

    @abstractmethod
    def unload(self) -> None:
        """Free what :meth:`load` took."""

    @abstractmethod
    def encode(self, image: np.ndarray) -> np.ndarray:
        """Image HxWx3 uint8 RGB to image embedding [1, 256, S/16, S/16] float32."""

    @abstractmethod
    def decode(self, embedding: np.ndarray, prompt: Prompt, frame: Frame) -> Decoded:
        """Image embedding and prompt to the masks."""


class BundleRunner(Runner):
    """A runner of a bundle's files.

    Args:
        bundle: the opened bundle.
        threads: threads the runtime may use; None leaves its default.
        components: which files to load.
    """

    def __init__(
        self,
        bundle: BundleFolder,
        *,
        threads: int | None = None,
        components: tuple[Component, ...] = COMPONENTS,
    ) -> None:
        self.bundle = bundle
        self.contract = bundle.manifest.contract
        self.threads = threads
        self.components = components

    @property
    def image_size(self) -> int:
        return self.contract.image_size

    @property
    def engine(self) -> str:
        """What computes, in words for the report, such as 'LiteRT 2.3.0 (XNNPACK)'."""
        return self.name

    @property
    def representative(self) -> bool:
        """False where the runtime is emulated, so that its speed says nothing of a device."""
        return True

    @abstractmethod
    def run(self, component: Component, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run one component on raw contract tensors by name; what it gives is float32."""

    def watch_half(
        self,
        component: Component,
        prepare: Callable[[], Arrays],
        observe: "Callable[[str, Tensor], None]",
    ) -> bool:
        """Run one component of a float16 file and hand over what each op gives, by name, in order.

        Args:
            component: as of :meth:`run`.
            prepare: makes the inputs of :meth:`run`; called only where the file is run.
            observe: called with each op's name and value.

        Returns:
            False, and nothing is run, where the runtime cannot be looked into or no op of the
            file computes in float16.
        """
        return False

    def prepare_image(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The encoder's inputs for an image, by the bundle's preprocessing variant."""
        return pack_image(image, self.contract)

    def prepare_prompt(self, prompt: Prompt, frame: Frame) -> dict[str, np.ndarray]:
        """The decoder's inputs for a prompt, but for the embedding."""
        return pack_prompt(prompt, frame, self.contract)

    def encode(self, image: np.ndarray) -> np.ndarray:
        return self.run("encoder", self.prepare_image(image))["image_embeddings"]

    def decode(self, embedding: np.ndarray, prompt: Prompt, frame: Frame) -> Decoded:
        return self.decode_prepared(embedding, self.prepare_prompt(prompt, frame))

    def decode_prepared(self, embedding: np.ndarray, prompt: Arrays) -> Decoded:
        """Like :meth:`decode`, for a prompt that :meth:`prepare_prompt` has made into inputs.

        Raises:
            BundleError: the file's masks are not of the photo's size.
        """
        outputs = self.run("decoder", {"image_embeddings": embedding, **prompt})
        low_res, iou = outputs["low_res_masks"][0], outputs["iou_predictions"][0]
        if self.contract.masks == "full":
            return Decoded(low_res, iou, frame_mask=outputs["masks"][0])
        masks = None
        if "masks" in outputs:
            masks = outputs["masks"][0]
            height, width = (int(side) for side in prompt["orig_im_size"])
            if masks.shape[1:] != (height, width):
                found = " x ".join(str(side) for side in masks.shape[1:])
                raise BundleError(
                    f"{self.bundle.path} gives masks of {found} pixels (height x width) for a "
                    f"photo of {height} x {width}: export the bundle again"
                )
        return Decoded(low_res, iou, masks)
