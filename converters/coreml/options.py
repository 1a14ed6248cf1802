"""What an export to Core ML can be asked for, beside the scheme."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self, get_args

from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.compute_units import ComputeUnits
from mobilesam.bundle.contract import Contract, InputVariant, Masks
from mobilesam.errors import InputError

IOS_VERSIONS = (16, 17, 18)

Input = Literal["tensor", "image"]
Package = Literal["separate", "multifunction"]
Slots = Literal["fixed", "range", "enumerated"]

NO_BYTES = (
    "Core ML gives no uint8 before iOS 26, and a full mask is of bytes: leave out --masks full, "
    "and let the app do what docs/bundle.md says and, in Swift, apps/apple does"
)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "input": get_args(Input),
    "package": get_args(Package),
    "slots": get_args(Slots),
    "compute_units": get_args(ComputeUnits),
}

NEEDS = {
    ("scheme", "w8a8"): 17,
    ("scheme", "w4"): 18,
    ("package", "multifunction"): 18,
    ("slots", "enumerated"): 18,
}
"""The lowest iOS of choices that need more than the lowest of all. Sources: Apple's "Creating a
multifunction Core ML model"; coremltools refuses enumerated shapes of two inputs before iOS 18."""


def minimum_ios(scheme: str) -> int:
    """The lowest iOS that runs a scheme of target ``coreml``: 16, 17 or 18."""
    return NEEDS.get(("scheme", scheme), IOS_VERSIONS[0])


class CoreMLOptions(TargetOptions):
    """Options of Core ML packages.

    Attributes:
        ios: lowest iOS that the package must run on, 16 to 18 (macOS 13 to 15); None: the lowest
            that the scheme and the other options need.
        input: ``tensor``: ``image`` is a float32 multi-array [1, 3, S, S]; ``image``: an RGB pixel
            buffer of S x S, 8 bits a channel. The graph normalises per channel either way. What
            variant ``uint8`` is elsewhere is a pixel buffer here: Core ML has no multi-array of
            bytes before iOS 26, and what an app has is a pixel buffer, in whatever channel order.
        package: ``separate``: ``encoder.mlpackage`` and ``decoder.mlpackage``; ``multifunction``:
            one ``model.mlpackage`` with the functions ``encode`` and ``decode``.
        slots: ``fixed``: K point slots; ``range``: any number from 2 to K (``RangeDim``);
            ``enumerated``: some numbers up to K (``EnumeratedShapes``).
        compute_units: what the package is meant to run on: recorded, and what parity asks
            ``MLModel`` for unless told otherwise.
    """

    ios: int | None = None
    input: Input = "tensor"
    package: Package = "separate"
    slots: Slots = "fixed"
    compute_units: ComputeUnits = "all"

    def offers(self, scheme: str) -> bool:
        """Whether the lowest iOS that was asked for runs the scheme."""
        return self.ios is None or minimum_ios(scheme) <= self.ios

    def taking(self, input_variant: InputVariant) -> Self:
        """With a pixel buffer for variant ``uint8``."""
        return self.model_copy(update={"input": "image"}) if input_variant == "uint8" else self

    def check(
        self, schemes: Sequence[str], input_variant: InputVariant, masks: Masks = "low_res"
    ) -> None:
        """Refuse an iOS that is unknown or too old, and an image input that the app normalises.

        Raises:
            InputError: says which.
        """
        if self.ios is not None and self.ios not in IOS_VERSIONS:
            known = ", ".join(map(str, IOS_VERSIONS))
            raise InputError(f"ios must be one of {known}, not {self.ios}")
        if self.input == "image" and input_variant == "normalized":
            raise InputError(
                "a Core ML image input holds values of 0 to 255: it needs the input variant "
                f"'pixels', not '{input_variant}'"
            )
        if masks == "full":
            raise InputError(NO_BYTES)
        for scheme in schemes:
            self.deployment_target(scheme)

    def contract(self, contract: Contract) -> Contract:
        """The contract with the numbers of point slots that the decoder accepts.

        A pixel buffer reaches the graph as variant ``pixels``: Core ML itself reads its bytes.
        """
        taken = replace(contract, slot_counts=self.slot_counts(contract.slots))
        if contract.input_variant == "uint8":
            taken = replace(taken, input_variant="pixels", channel_order="rgb")
        return taken

    def deployment_target(self, scheme: str) -> int:
        """The iOS that a package of a scheme is written for.

        Raises:
            InputError: ``ios`` is lower than the scheme or an option needs.
        """
        needed = {f"scheme {scheme}": minimum_ios(scheme)} | {
            f"{choice} {option}": version
            for (option, choice), version in NEEDS.items()
            if option != "scheme" and getattr(self, option) == choice
        }
        what = max(needed, key=lambda name: needed[name])
        if self.ios is None:
            return needed[what]
        if self.ios < needed[what]:
            raise InputError(f"Core ML's {what} needs iOS {needed[what]}, not iOS {self.ios}")
        return self.ios

    def slot_counts(self, slots: int) -> tuple[int, ...]:
        """The numbers of point slots that a decoder of K = ``slots`` accepts, ascending.

        Two is the least: a single point takes one, and SAM's padding point another.
        """
        if self.slots == "range":
            return tuple(range(2, slots + 1))
        if self.slots == "enumerated":
            powers = [2**power for power in range(1, slots.bit_length())]
            return tuple(sorted({*powers, slots}))
        return ()


def coreml_options(spec: ExportSpec) -> CoreMLOptions:
    """The options of a bundle of target ``coreml``."""
    assert isinstance(spec.options, CoreMLOptions), spec.target
    return spec.options
