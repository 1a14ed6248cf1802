"""The two sides of a comparison, the model captured and what both are fed, for one photo."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch.export import ExportedProgram

from converters.base import capture
from converters.modules import build_module, example_inputs
from mobilesam.bundle.contract import Component, pack_image, pack_prompt
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.bundle import Bundle
from parity.bisection.formats import prepared


class PromptedImage(NamedTuple):
    """What both sides are shown.

    Attributes:
        name: of the photo.
        image: HxWx3 uint8 RGB.
        prompt: in pixels of the photo.
    """

    name: str
    image: np.ndarray
    prompt: Prompt


class Sides:
    """What a bundle is held against: the model captured, and the inputs of both.

    Args:
        model: what the bundle was exported from.
        bundle: whose files are examined.
        subject: what both are shown.
    """

    def __init__(self, model: MobileSAM, bundle: Bundle, subject: PromptedImage) -> None:
        self._model = model
        self._bundle = bundle
        self._contract = bundle.manifest.contract
        self._subject = subject
        self._programs: dict[Component, ExportedProgram] = {}
        self._inputs: dict[Component, Arrays] = {}

    def program(self, component: Component) -> ExportedProgram:
        """A component as torch.export captures it."""
        if component not in self._programs:
            module = build_module(self._model, component, self._contract)
            example = example_inputs(self._contract, component)
            self._programs[component] = capture(
                prepared(self._bundle, module),
                tuple(example.values()),
                self._contract.signature(component),
            )
        return self._programs[component]

    def outputs(self, component: Component) -> list[str]:
        """Names of a component's outputs, in the contract's order."""
        return [spec.name for spec in self._contract.signature(component).outputs]

    def inputs(self, component: Component) -> Arrays:
        """What a component is fed, by contract name, in the contract's order.

        Raises:
            PromptError: the prompt does not fit the contract's slots.
        """
        if component not in self._inputs:
            image = self._subject.image
            self._inputs[component] = (
                pack_image(image, self._contract) if component == "encoder" else self._decoding()
            )
        return self._inputs[component]

    def _decoding(self) -> Arrays:
        prompt = self._subject.prompt
        height, width = self._subject.image.shape[:2]
        frame = Frame((height, width), self._contract.image_size)
        # In all slots: a captured program's values have the sizes of its example.
        packed = pack_prompt(prompt, frame, replace(self._contract, slot_counts=()))
        (embedding,) = self._run("encoder", self.inputs("encoder"))
        first = {"image_embeddings": embedding, **packed}
        if prompt.mask_input is not None:
            return first
        masks, iou = self._run("decoder", first)
        chosen = choose_mask(prompt, iou[0])
        drawn = {"mask_input": masks[:, chosen : chosen + 1], "has_mask_input": np.ones(1)}
        return first | {name: array.astype(np.float32) for name, array in drawn.items()}

    def _run(self, component: Component, inputs: Arrays) -> list[np.ndarray]:
        """The model's outputs."""
        with torch.inference_mode():
            module = self.program(component).module(check_guards=False)
            found = module(*(torch.as_tensor(array) for array in inputs.values()))
        return [x.numpy() for x in (found if isinstance(found, tuple | list) else [found])]
