"""What the reference answers to every case: computed once, kept on disk, compared to often."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.transforms import MASK_THRESHOLD, Frame, upscale_logits
from mobilesam.progress import Step
from mobilesam.runtimes.base import Decoded, Runner
from parity.cases import Case, is_degenerate
from parity.metrics import boundary
from parity.photos import UNREADABLE, PhotoSet, StoredPhoto, unusable_image

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def logits_of(low_res: Floats, frame: Frame) -> Floats:
    """Logits [C, H, W] at the photo's size from low-res logits [C, S/4, S/4]."""
    with torch.inference_mode():
        return upscale_logits(torch.from_numpy(low_res)[None], frame)[0].numpy()


def masks_of(low_res: Floats, frame: Frame) -> Bools:
    """Masks [C, H, W] at the photo's size from low-res logits [C, S/4, S/4]."""
    return logits_of(low_res, frame) > MASK_THRESHOLD


@dataclass(frozen=True)
class Answer:
    """The reference's answer to one case.

    Attributes:
        low_res: logits [4, S/4, S/4]. iou: predictions [4].
        masks, boundaries: [4, H, W] bool at the photo's size.
        degenerate: of each mask, whether IoU with it is meaningless.
        chosen: the mask SAM would show.
    """

    case: Case
    low_res: Floats
    iou: Floats
    masks: Bools
    boundaries: Bools
    degenerate: tuple[bool, ...]
    chosen: int

    def in_frame(self) -> "Answer":
        """The same as it lies in the frame: the photo is as large as its part of the frame."""
        of_photo = self.case.frame
        frame = Frame(of_photo.valid_size, of_photo.image_size)
        masks = masks_of(self.low_res, frame)
        return replace(
            self,
            case=replace(self.case, frame=frame, human_mask=None),
            masks=masks,
            boundaries=np.stack([boundary(mask) for mask in masks]),
            degenerate=tuple(is_degenerate(mask) for mask in masks),
        )


class PhotoReference:
    """One photo with the reference's embedding and its answer to each of its cases.

    What takes much room lies in a file: the answers, the masks that they make, and the mask that a
    person drew.

    Args:
        photo: decoded and stored.
        cases: of the photo, in the frame of the reference.
        folder: for the file.
        index: place of the photo, which names the file.
    """

    def __init__(self, photo: StoredPhoto, cases: Sequence[Case], folder: Path, index: int) -> None:
        self.photo = photo
        self.cases = tuple(cases)
        """Without the mask that a person drew, once :meth:`keep` has put it on disk."""
        self._file = folder / f"{index}.npz"
        self._human = tuple(case.human_mask is not None for case in cases)

    def compute(self, runner: Runner, rgb: np.ndarray) -> None:
        """Ask the reference, and keep what it answers."""
        embedding = runner.encode(rgb)
        self.keep(embedding, lambda case: runner.decode(embedding, case.prompt, case.frame))

    def keep(self, embedding: Floats, answer: Callable[[Case], Decoded]) -> None:
        """Write down an embedding [1, 256, S/16, S/16] and what is answered to each case, in order.

        Args:
            embedding: the reference's.
            answer: called with each case, whose mask input is there by then.
        """
        humans = [case.human_mask for case in self.cases if case.human_mask is not None]
        cases: list[Case] = []
        low_res: list[Floats] = []
        iou: list[Floats] = []
        for case in self.cases:
            # `one_point` comes first: its best mask is what the refinement starts from.
            if case.refines:
                case = case.refined(low_res[0][choose_mask(cases[0].prompt, iou[0])])
            decoded = answer(case)
            cases.append(replace(case, human_mask=None))
            low_res.append(decoded.low_res)
            iou.append(decoded.iou)
        self.cases = tuple(cases)
        masks = np.stack(
            [masks_of(logits, case.frame) for logits, case in zip(low_res, cases, strict=True)]
        )
        np.savez(
            self._file,
            embedding=embedding,
            low_res=np.stack(low_res),
            iou=np.stack(iou),
            masks=np.packbits(masks, axis=-1),
            boundaries=np.packbits([[boundary(m) for m in four] for four in masks], axis=-1),
            human=np.packbits(humans[0] if humans else np.zeros((0, 0), np.bool_), axis=-1),
        )

    def embedding(self) -> Floats:
        """Image embedding [1, 256, S/16, S/16]."""
        with np.load(self._file) as stored:
            array: Floats = stored["embedding"]
        return array

    def answers(self) -> Iterator[Answer]:
        """The reference's answer to each case, in order; cases with the mask that a person drew."""
        with np.load(self._file) as stored:
            parts = [stored[name] for name in ("low_res", "iou", "masks", "boundaries")]
            packed_human = stored["human"]
        frame = self.cases[0].frame
        human = _unpacked(packed_human, frame) if packed_human.size else None
        rows = zip(self.cases, self._human, *parts, strict=True)
        for case, has_human, low_res, iou, packed, packed_boundaries in rows:
            masks = _unpacked(packed, frame)
            yield Answer(
                case=replace(case, human_mask=human) if has_human else case,
                low_res=low_res,
                iou=iou,
                masks=masks,
                boundaries=_unpacked(packed_boundaries, frame),
                degenerate=tuple(is_degenerate(mask) for mask in masks),
                chosen=choose_mask(case.prompt, iou),
            )


def _unpacked(bits: npt.NDArray[np.uint8], frame: Frame) -> Bools:
    return np.unpackbits(bits, axis=-1, count=frame.original_size[1]).view(np.bool_)


@contextmanager
def reference_answers(
    runner: Runner,
    photos: PhotoSet,
    advance: Step = lambda _: None,
    *,
    slots: int | None = None,
) -> Iterator[list[PhotoReference]]:
    """Every photo answered by the reference; what is kept on disk goes when the block ends.

    Args:
        runner: the reference, opened.
        photos: of the run; one that cannot be read any more joins the unusable ones.
        slots: the most slots of any decoder that is asked all that its contract allows; None asks
            only what every photo is asked.
        advance: called with each photo's name before it is computed.
    """
    with tempfile.TemporaryDirectory(prefix="mobilesam-parity-") as folder:
        references = []
        for index, photo in enumerate(photos.photos):
            advance(photo.name)
            try:
                rgb, cases = photo.pixels(), photo.cases(runner.image_size, slots)
            except UNREADABLE as error:
                lost = unusable_image(photo.name, error)
                if lost not in photos.unusable:
                    photos.unusable.append(lost)
                continue
            reference = PhotoReference(photo, cases, Path(folder), index)
            reference.compute(runner, rgb)
            references.append(reference)
        yield references
