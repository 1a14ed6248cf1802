"""Ask a model about one image, as often as you like."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mobilesam.errors import ImageNotSetError, InputError, PromptError
from mobilesam.files import written_whole
from mobilesam.inference.images import ImageSource, load_image
from mobilesam.inference.prompts import Prompt, make_prompt
from mobilesam.inference.transforms import Frame, normalized_input, upscale_logits
from mobilesam.model.sam import MobileSAM

MASK_THRESHOLD = 0.0
"""Logits above it are mask."""


class Predictor:
    """Masks of one image from prompts, with the image embedding computed once.

    The habits are those of SAM's ``SamPredictor``: ``set_image``, then ``predict``.

    Args:
        model: as :func:`mobilesam.load_model` returns it.
    """

    def __init__(self, model: MobileSAM) -> None:
        self.model = model
        self._frame: Frame | None = None
        self._embedding: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    @property
    def frame(self) -> Frame:
        """Geometry of the current image. Raises ImageNotSetError before ``set_image``."""
        if self._frame is None:
            raise ImageNotSetError("no image is set: call set_image first")
        return self._frame

    @property
    def embedding(self) -> Tensor:
        """Image embedding, 1x256xS/16xS/16. Raises ImageNotSetError before ``set_image``."""
        if self._embedding is None:
            raise ImageNotSetError("no image is set: call set_image first")
        return self._embedding

    @property
    def is_image_set(self) -> bool:
        """Whether there is an image to ask about."""
        return self._embedding is not None

    def reset_image(self) -> None:
        """Forget the current image."""
        self._frame = self._embedding = None

    @torch.inference_mode()
    def set_image(self, image: ImageSource) -> None:
        """Compute the image embedding.

        Args:
            image: a path, a PIL image, or an HxWx3 uint8 array in RGB.

        Raises:
            ImageError: the image cannot be read or used.
        """
        pixels = load_image(image)
        batch = torch.from_numpy(normalized_input(pixels, self.model.image_size))
        self._embedding = self.model.image_encoder(batch.to(self.device))
        self._frame = Frame(pixels.shape[:2], self.model.image_size)

    def set_embedding(self, embedding: Tensor, frame: Frame) -> None:
        """Take up an embedding that was computed before or elsewhere.

        Args:
            embedding: 1x256xS/16xS/16.
            frame: geometry of the image it was computed from.

        Raises:
            InputError: the shape is not this model's.
        """
        grid = self.model.grid_size
        if tuple(embedding.shape) != (1, self.model.channels, grid, grid):
            raise InputError(
                f"an image embedding of this model is 1x{self.model.channels}x{grid}x{grid}, not "
                + "x".join(str(side) for side in embedding.shape)
            )
        self._embedding = embedding.to(self.device)
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
            PromptError: the prompt is empty, malformed or outside the image.
        """
        prompt = make_prompt(
            point_coords,
            point_labels,
            box,
            mask_input,
            original_size=self.frame.original_size,
            low_res_size=self.model.low_res_size,
        )
        low_res, iou = self.decode(prompt)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        logits = upscale_logits(low_res, self.frame)
        masks = logits if return_logits else logits > MASK_THRESHOLD
        return masks[0].cpu().numpy(), iou[0].cpu().numpy(), low_res[0].cpu().numpy()

    @torch.inference_mode()
    def decode(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """All four masks of a checked prompt.

        Returns:
            Low-res logits 1x4xS/4xS/4 and IoU predictions 1x4; mask 0 is the single-mask output.
        """
        points = box = mask = None
        if len(prompt.point_coords):
            coords = self.frame.coords_to_frame(prompt.point_coords)
            points = self._tensor(coords)[None], self._tensor(prompt.point_labels)[None]
        if prompt.box is not None:
            box = self._tensor(self.frame.boxes_to_frame(prompt.box))[None]
        if prompt.mask_input is not None:
            mask = self._tensor(prompt.mask_input)[None, None]
        return self._run_decoder(points, box, mask)

    @torch.inference_mode()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
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
            PromptError: nothing was given, or batch sizes differ.
        """
        frame = self.frame
        if (point_coords is None) != (point_labels is None):
            raise PromptError("point_coords and point_labels must be given together")
        given = [t for t in (point_coords, point_labels, boxes, mask_input) if t is not None]
        if not given:
            raise PromptError("no prompt was given: give points, boxes or a mask input")
        if len({t.shape[0] for t in given}) > 1:
            sizes = ", ".join(str(t.shape[0]) for t in given)
            raise PromptError(f"every part of a batch needs the same first dimension, not {sizes}")
        points = None
        if point_coords is not None and point_labels is not None:
            points = point_coords.to(self.device), point_labels.to(self.device)
        low_res, iou = self._run_decoder(points, boxes, mask_input)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        logits = upscale_logits(low_res, frame)
        return logits if return_logits else logits > MASK_THRESHOLD, iou, low_res

    def _run_decoder(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        encoder = self.model.prompt_encoder
        sparse, dense = encoder(points, boxes, masks)
        return self.model.mask_decoder(self.embedding, encoder.image_position(), sparse, dense)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

    def save_embedding(self, path: str | Path) -> None:
        """Write the image embedding and its geometry as safetensors, to be loaded later."""
        height, width = self.frame.original_size
        metadata = {
            "height": str(height),
            "width": str(width),
            "image_size": str(self.model.image_size),
            "weights_sha256": self.model.weights.sha256 if self.model.weights else "",
        }
        tensors = {"image_embeddings": self.embedding.cpu().contiguous()}
        with written_whole(Path(path)) as temporary:
            save_file(tensors, temporary, metadata)

    def load_embedding(self, path: str | Path) -> None:
        """Take up an image whose embedding :meth:`save_embedding` wrote.

        Raises:
            InputError: not such a file, or one of another model.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                embedding = file.get_tensor("image_embeddings")
            size = int(metadata["height"]), int(metadata["width"])
            image_size = int(metadata["image_size"])
        except FileNotFoundError:
            raise InputError(f"embedding file not found: {path}") from None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise InputError(
                f"{path} is not an embedding that save_embedding wrote ({error})"
            ) from None
        weights = self.model.weights.sha256 if self.model.weights else ""
        if image_size != self.model.image_size or metadata["weights_sha256"] != weights:
            raise InputError(
                f"{path} was computed with other weights or another image size than this model's"
            )
        self.set_embedding(embedding, Frame(size, image_size))


def choose_mask(prompt: Prompt, iou_predictions: np.ndarray) -> int:
    """Index of the mask to show, as SAM chooses it.

    Args:
        prompt: what was asked.
        iou_predictions: [4].

    Returns:
        The best of masks 1 to 3 for an ambiguous prompt (a single point), else 0.
    """
    return 1 + int(np.argmax(iou_predictions[1:])) if prompt.is_ambiguous else 0
