"""What every predictor does around a model: one image at a time, prompts, masks, embeddings.

Torch is imported where it computes: a process that runs exported files may have no need of it.
"""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mobilesam.closing import Closing
from mobilesam.errors import ImageNotSetError, InputError, PromptError
from mobilesam.files import written_whole
from mobilesam.inference.images import ImageSource, load_image
from mobilesam.inference.prompts import Prompt, check_batch, make_prompt
from mobilesam.inference.transforms import MASK_THRESHOLD, Frame, upscale_logits

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ImagePredictor(Closing):
    """Masks of one image from prompts, with the image embedding computed once.

    The habits are those of SAM's ``SamPredictor``: ``set_image``, then ``predict``. Subclasses say
    how pixels are encoded and how prompts are decoded. With ``with``, what the predictor holds is
    freed at the end of the block.

    Args:
        image_size: S, side of the model's square frame in pixels.
        stride: pixels to one cell of the embedding grid.
        channels: of the embedding.
        weights_sha256: of the weights, empty if unknown; an embedding on disk must carry the same.
    """

    def __init__(self, *, image_size: int, stride: int, channels: int, weights_sha256: str) -> None:
        grid = image_size // stride
        self.image_size = image_size
        self.low_res_size = 4 * grid
        self._embedding_shape = 1, channels, grid, grid
        self._weights_sha256 = weights_sha256
        self._frame: Frame | None = None
        self._embedding: Tensor | np.ndarray | None = None

    @abstractmethod
    def _encode(self, pixels: np.ndarray) -> "Tensor | np.ndarray":
        """The embedding, float32 1xCxS/16xS/16, of HxWx3 uint8 pixels in RGB."""

    @abstractmethod
    def _decode(
        self,
        points: "tuple[Tensor, Tensor] | None",
        boxes: "Tensor | None",
        masks: "Tensor | None",
    ) -> "tuple[Tensor, Tensor]":
        """All four masks of B prompts about the current image.

        Args:
            points: coordinates BxNx2 in pixels of the SxS frame and labels BxN.
            boxes: Bx4 in pixels of the SxS frame.
            masks: low-res logits Bx1xS/4xS/4.

        Returns:
            Low-res logits Bx4xS/4xS/4 and IoU predictions Bx4.
        """

    def close(self) -> None:
        """Free what the predictor holds."""
        self.reset_image()

    @property
    def engine(self) -> str:
        """What computes, in words for people."""
        return "PyTorch"

    @property
    def device(self) -> "torch.device":
        """Where the embedding is and the masks are computed."""
        import torch

        return torch.device("cpu")

    @property
    def frame(self) -> Frame:
        """Geometry of the current image. Raises ImageNotSetError before ``set_image``."""
        if self._frame is None:
            raise ImageNotSetError("no image is set: call set_image first")
        return self._frame

    @property
    def embedding(self) -> "Tensor":
        """Image embedding, 1x256xS/16xS/16. Raises ImageNotSetError before ``set_image``."""
        import torch

        if self._embedding is None:
            raise ImageNotSetError("no image is set: call set_image first")
        self._embedding = torch.as_tensor(self._embedding, device=self.device)
        return self._embedding

    @property
    def is_image_set(self) -> bool:
        """Whether there is an image to ask about."""
        return self._embedding is not None

    def reset_image(self) -> None:
        """Forget the current image."""
        self._frame = self._embedding = None

    def set_image(self, image: ImageSource) -> None:
        """Compute the image embedding.

        Args:
            image: a path, a PIL image, or an HxWx3 uint8 array in RGB.

        Raises:
            ImageError: the image cannot be read or used.
        """
        pixels = load_image(image)
        height, width = pixels.shape[:2]
        frame = Frame((height, width), self.image_size)
        self._embedding = self._encode(pixels)
        self._frame = frame

    def set_embedding(self, embedding: "Tensor | np.ndarray", frame: Frame) -> None:
        """Take up an embedding that was computed before or elsewhere.

        Args:
            embedding: float32 1x256xS/16xS/16.
            frame: geometry of the image it was computed from.

        Raises:
            InputError: the shape is not this model's.
        """
        if tuple(embedding.shape) != self._embedding_shape:
            wanted, found = (
                "x".join(str(side) for side in shape)
                for shape in (self._embedding_shape, embedding.shape)
            )
            raise InputError(f"an image embedding of this model is {wanted}, not {found}")
        self._embedding = embedding
        self._frame = frame

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks for one prompt.

        Args:
            point_coords: [N, 2] x, y in pixels of the original image.
            point_labels: [N]; 1 foreground, 0 background.
            box: [4] x1, y1, x2, y2 in pixels of the original image.
            mask_input: [1, S/4, S/4] low-res logits of an earlier pass.
            multimask_output: three masks to choose from (best for a single point), else one.
            return_logits: masks as float logits instead of booleans.

        Returns:
            masks [C, H, W] bool (or float32 logits) at the original size, IoU predictions [C],
            low-res logits [C, S/4, S/4]; C is 3 or 1.

        Raises:
            ImageNotSetError: no image is set.
            PromptError: the prompt is empty, malformed or outside the image, or has more points
                than an exported decoder has slots for.
        """
        prompt = make_prompt(
            point_coords,
            point_labels,
            box,
            mask_input,
            original_size=self.frame.original_size,
            low_res_size=self.low_res_size,
        )
        low_res, iou = self.decode(prompt)
        masks, iou, low_res = self._chosen(low_res, iou, multimask_output, return_logits)
        return masks[0].cpu().numpy(), iou[0].cpu().numpy(), low_res[0].cpu().numpy()

    def decode(self, prompt: Prompt) -> "tuple[Tensor, Tensor]":
        """All four masks of a checked prompt.

        Returns:
            Low-res logits 1x4xS/4xS/4 and IoU predictions 1x4; mask 0 is the single-mask output.

        Raises:
            ImageNotSetError: no image is set.
            PromptError: more points than an exported decoder has slots for.
        """
        frame = self.frame
        points = box = mask = None
        if len(prompt.point_coords):
            coords = frame.coords_to_frame(prompt.point_coords)
            points = self._tensor(coords)[None], self._tensor(prompt.point_labels)[None]
        if prompt.box is not None:
            box = self._tensor(frame.boxes_to_frame(prompt.box))[None]
        if prompt.mask_input is not None:
            mask = self._tensor(prompt.mask_input)[None, None]
        return self._decode(points, box, mask)

    def predict_torch(
        self,
        point_coords: "Tensor | None",
        point_labels: "Tensor | None",
        boxes: "Tensor | None" = None,
        mask_input: "Tensor | None" = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """Masks for B prompts of the same form in one call.

        Args:
            point_coords: BxNx2 in pixels of the SxS frame (see ``frame.coords_to_frame``).
            point_labels: BxN.
            boxes: Bx4 in the SxS frame.
            mask_input: Bx1xS/4xS/4 low-res logits.
            multimask_output, return_logits: as in :meth:`predict`.

        Returns:
            masks BxCxHxW, IoU predictions BxC, low-res logits BxCxS/4xS/4.

        Raises:
            ImageNotSetError: no image is set.
            PromptError: nothing was given, shapes or batch sizes do not fit, or there are more
                points than an exported decoder has slots for.
        """
        _ = self.frame  # an image comes first
        if (point_coords is None) != (point_labels is None):
            raise PromptError("point_coords and point_labels must be given together")
        low = self.low_res_size
        check_batch(
            {
                "point_coords": (point_coords, ("B", "N", 2)),
                "point_labels": (point_labels, ("B", "N")),
                "boxes": (boxes, ("B", 4)),
                "mask_input": (mask_input, ("B", 1, low, low)),
            }
        )
        points = None
        if point_coords is not None and point_labels is not None:
            points = self._given(point_coords), self._given(point_labels)
        boxes, mask_input = (None if t is None else self._given(t) for t in (boxes, mask_input))
        low_res, iou = self._decode(points, boxes, mask_input)
        return self._chosen(low_res, iou, multimask_output, return_logits)

    def _chosen(
        self, low_res: "Tensor", iou: "Tensor", multimask_output: bool, return_logits: bool
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """The masks that were asked for, at the image's size, of the four that the model gives."""
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        logits = upscale_logits(low_res, self.frame)
        return logits if return_logits else logits > MASK_THRESHOLD, iou, low_res

    def _given(self, tensor: "Tensor") -> "Tensor":
        """What a caller handed over, as the decoder takes it: float32, here, without gradients."""
        import torch

        return tensor.detach().to(self.device, torch.float32)

    def _tensor(self, array: np.ndarray) -> "Tensor":
        import torch

        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

    def save_embedding(self, path: str | Path) -> None:
        """Write the image embedding and its geometry as safetensors, to be loaded later."""
        height, width = self.frame.original_size
        metadata = {
            "height": str(height),
            "width": str(width),
            "image_size": str(self.image_size),
            "weights_sha256": self._weights_sha256,
        }
        tensors = {"image_embeddings": self.embedding.cpu().contiguous().numpy()}
        with written_whole(Path(path)) as temporary:
            save_file(tensors, temporary, metadata)

    def load_embedding(self, path: str | Path) -> None:
        """Take up an image whose embedding :meth:`save_embedding` wrote.

        It may come from another predictor of the same weights and image size: PyTorch's, or an
        exported file's.

        Raises:
            InputError: not such a file, or one of another model.
        """
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                embedding = file.get_tensor("image_embeddings")
            size = int(metadata["height"]), int(metadata["width"])
            image_size, weights = int(metadata["image_size"]), metadata["weights_sha256"]
        except FileNotFoundError:
            raise InputError(f"embedding file not found: {path}") from None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise InputError(
                f"{path} is not an embedding that save_embedding wrote ({error})"
            ) from None
        if image_size != self.image_size or weights != self._weights_sha256:
            raise InputError(
                f"{path} was computed with other weights or another image size than this model's"
            )
        self.set_embedding(embedding, Frame(size, image_size))
