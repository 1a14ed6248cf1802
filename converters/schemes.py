"""The one table of targets and schemes: what can be exported, with what, and what it means.

A target is one row here and one module or folder in ``converters/`` (see ``converters.base``).
:mod:`converters.lookup` has what is asked of the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ALL = "all"
MIXED = "mixed"
"""The scheme of a bundle that was exported by a plan."""

COREML = "coreml"
ONNX = "onnx"
EXECUTORCH = "executorch"
FP32 = "float32 weights, computed in float32"

NO_DEVICE = "none: evaluated in PyTorch, not run on a device"

NO_GPU = "CPU only: LiteRT's GPU accelerator"
"""Begins what is said of a scheme whose files LiteRT runs on the CPU alone."""

SMALL = 2048
"""Constants of at most so many elements are never quantized: together they are 1 to 2 % of a file.
"""

_TWO_GB = 2**31 - 1

_KEPT = f"biases, norms and constants of at most {SMALL} elements"

_COREML_FP16 = (
    "float16 weights, computed in float16; coordinates, their positional encoding and the valid "
    "size stay float32"
)

_NO_PALETTES = dict.fromkeys(
    ("p8", "p6", "p4"),
    "the format has no palettes: each weight would be looked up at every run, or the file be as "
    "large as with float weights",
)


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One file a target writes for each component, ``<component><suffix>``.

    Attributes:
        least_tested: name of each scheme to the oldest version of the runtime that gave right masks
            when its files were run on it (:mod:`benchmarks.old_runtimes`).
    """

    suffix: str
    runtime: str
    least_tested: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SizeLimit:
    """How much a file of a format can hold.

    Attributes:
        size_bytes: at most.
        reason: what sets it, in words.
        halved: schemes whose weights become float16 before there is a file. Those of all others go
            through one of float32.
    """

    size_bytes: int
    reason: str
    halved: tuple[str, ...] = ()

    def bytes_per_weight(self, scheme: str) -> int:
        """Of the largest file on the way to a scheme's."""
        return 2 if scheme in self.halved else 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """One row of the table.

    Attributes:
        title: the format's name in prose.
        module: that converts to it, see :class:`converters.base.Converter`.
        packages: distributions that convert, their versions are recorded in the manifest; each is
            imported by its name with underscores.
        extra: the pip extra that installs them; empty when the base install has them.
        artefacts: files written for each component.
        schemes: name of each scheme to what it means for this target.
        calibrated: the schemes whose ranges come from photos.
        calibration_methods: how they may be found, the default first.
        short_decoder: the schemes whose decoder is computed in fewer multiplications
            (:mod:`mobilesam.model.short_decoder`), where that was measured to take less time.
        half_embedding: the schemes whose embedding may be float16 between encoder and decoder.
        by_plan: meaning of the scheme ``mixed``, which a scheme file defines; empty: there is none.
        refused: name of each scheme that was tried and is not offered to the reason.
        backends: name of each other backend that its options can name to the row that it then is.
        beta: whether its extra lies beside ``all``, since its packages are not to be had for every
            machine; ``all`` targets then means it only where they are installed.
        seconds: rough time of one export, so that the longest can start first.
        limit: how much a file can hold; None: any model there is.
    """

    title: str
    module: str
    packages: tuple[str, ...]
    extra: str = ""
    artefacts: tuple[Artefact, ...]
    schemes: Mapping[str, str]
    calibrated: tuple[str, ...] = ()
    calibration_methods: tuple[str, ...] = ("min-max",)
    short_decoder: tuple[str, ...] = ()
    half_embedding: tuple[str, ...] = ()
    by_plan: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    backends: Mapping[str, "Target"] = field(default_factory=dict)
    beta: bool = False
    seconds: int
    limit: SizeLimit | None = None


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "torchscript": Target(
            title="TorchScript",
            module="converters.torchscript",
            short_decoder=("fp32",),
            packages=("torch",),
            artefacts=(
                Artefact(
                    suffix=".pt",
                    runtime="torchscript",
                    least_tested=dict.fromkeys(("fp32", "w8d"), "PyTorch 2.13.0"),
                ),
                Artefact(
                    suffix=".ptl",
                    runtime="lite_interpreter",
                    least_tested=dict.fromkeys(("fp32", "w8d"), "PyTorch 2.13.0"),
                    note="legacy: PyTorch no longer actively supports the lite interpreter",
                ),
            ),
            schemes={
                "fp32": FP32,
                "w8d": "dynamic int8: "
                "linear layers with int8 weights, symmetric, one scale per output channel, "
                "and uint8 inputs (7 bits of them on x86), one scale and zero point per tensor, "
                "taken from each image as it comes; all else float32",
            },
            refused={
                "fp16": "the CPU computes float16 more slowly than float32 there",
                "w8": "freezing the program multiplies int8 weights out again, and the files are "
                "as large as fp32's",
                "w8a8": "torch.ao's static quantization cannot trace the encoder",
                "w8a16": "torch.ao has no kernels with 16-bit activations",
                "w4": "torch.ao has 4-bit weights for embedding tables alone",
                **_NO_PALETTES,
            },
            seconds=15,
        ),
        COREML: Target(
            title="Core ML",
            module="converters.coreml.convert",
            half_embedding=("fp16", "w8", "w4", "p8", "p6", "p4", "w8a8"),
            packages=("coremltools",),
            extra="coreml",
            artefacts=(
                Artefact(
                    suffix=".mlpackage",
                    runtime="coreml",
                    # No device was there: the programs were evaluated in PyTorch.
                    least_tested=dict.fromkeys(
                        ("fp32", "fp16", "w8", "w4", "p8", "p6", "p4", "w8a8"), NO_DEVICE
                    ),
                ),
            ),
            schemes={
                "fp32": FP32,
                "fp16": _COREML_FP16,
                "w8": "fp16 with int8 weights, symmetric, one float16 scale per output channel; "
                f"{_KEPT} stay float16",
                "w4": "as w8, but linear layers in int4, one scale per 32 input channels of an "
                "output channel; convolutions, tables and the decoder's image-to-token attention "
                "stay int8; iOS 18",
                "p8": "fp16 with weights of 8 bits, indices into a k-means palette of 256 float16 "
                "values per tensor; "
                f"{_KEPT} stay float16",
                "p6": "as p8 with 6 bits and 64 values; convolutions and the decoder's "
                "image-to-token attention keep 8 bits",
                "p4": "as p6 with 4 bits and 16 values, from iOS 18 on with a palette per 8 "
                "output channels",
                "w8a8": "as w8, and the inputs of linear layers and convolutions in int8, one "
                "scale and zero point per tensor, calibrated on photos; what enters the patch "
                "embedding, the first stage, attention, softmax, norms, GELU and sums stays "
                "float; iOS 17",
            },
            calibrated=("w8a8",),
            refused={
                "s50": "with half of the weights pruned by magnitude the embedding was off by a "
                "relative L2 of 0.52 (at 512 x 512) and the decoder's masks had a mean IoU of "
                "0.75, in files larger than w8's",
                "s30": "with 30 % of the weights pruned by magnitude the embedding was off by a "
                "relative L2 of 0.12 (at 512 x 512) and the decoder's masks had a mean IoU of "
                "0.91, in files larger than w8's",
                "w8d": "Core ML has no activations whose ranges are found at run time",
                "w8a16": "coremltools quantizes activations to 8 bits alone",
            },
            seconds=20,
        ),
        "tflite": Target(
            title="TFLite",
            module="converters.tflite.convert",
            short_decoder=("fp32", "fp16"),
            packages=("litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer"),
            extra="tflite",
            artefacts=(
                Artefact(
                    suffix=".tflite",
                    runtime="litert",
                    least_tested={
                        **dict.fromkeys(("fp32", "fp16", "w8", "w8a8"), "tflite-runtime 2.14.0"),
                        "w8d": "LiteRT 1.0.1",
                        "w8a16": "LiteRT 1.1.2",
                        "w4": "LiteRT 2.1.0",
                        # A plan may have any precision: that of the newest.
                        MIXED: "LiteRT 2.1.0",
                    },
                ),
            ),
            schemes={
                "fp32": FP32,
                "fp16": "float16 weights; computed in float32 on the CPU, in float16 where a "
                "delegate chooses to",
                "w8": "int8 weights of linear layers and convolutions, symmetric, one float32 "
                "scale per output channel, made float32 when the file is loaded; computed in "
                f"float32; {NO_GPU} refuses linear layers stored so; w8d's, of the same weights, "
                "it takes",
                "w8d": "dynamic int8: "
                "weights as w8; linear layers and convolutions (not depthwise or "
                "transposed ones) compute in int8, their inputs quantized at run time; norms, "
                "softmax, GELU, sums and attention's products stay float32",
                "w4": "as w8d, but linear layers in int4, one scale per 32 input channels of an "
                "output channel; the decoder's cross attention and first self attention stay int8; "
                f"{NO_GPU} crashes on such scales",
                "w8a8": "weights as w8, of transposed convolutions with one scale per layer; "
                "linear layers, convolutions and depthwise convolutions compute in int8, inputs "
                "and outputs with one scale and zero point per tensor, calibrated on photos; the "
                "rest stays float32",
                "w8a16": "as w8a8 with int16 activations, symmetric, depthwise convolutions in "
                "float32; no faster on a CPU, meant for NPUs; "
                f"{NO_GPU} has no int16",
            },
            calibrated=("w8a8", "w8a16"),
            calibration_methods=("min-max", "moving-average"),
            by_plan="each group of layers in a precision of its own, as the scheme file says",
            refused=_NO_PALETTES,
            seconds=50,
            limit=SizeLimit(
                size_bytes=_TWO_GB, reason="a TFLite file is a flatbuffer, which ends at 2 GB"
            ),
        ),
        ONNX: Target(
            title="ONNX",
            module="converters.onnx.convert",
            short_decoder=("fp32",),
            half_embedding=("fp16",),
            packages=("onnx", "onnxscript", "onnxruntime"),
            extra="onnx",
            artefacts=(
                Artefact(
                    suffix=".onnx",
                    runtime="onnxruntime",
                    least_tested={
                        **dict.fromkeys(("fp32", "w8", "w8d", "w8a8"), "ONNX Runtime 1.17.3"),
                        # 1.17.3 draws close masks, but not as close as the verdict asks.
                        "fp16": "ONNX Runtime 1.31.1",
                    },
                ),
            ),
            schemes={
                "fp32": FP32,
                "fp16": "float16 weights, computed in float16; the prompt encoder, the image's "
                "normalisation and channel norms stay float32",
                "w8": "int8 weights, symmetric, one float32 scale per output channel, which the "
                "runtime multiplies out at loading to compute in float32; relative position "
                f"biases, {_KEPT} stay float32",
                "w8d": "dynamic int8: "
                "as w8, and the inputs of linear layers in uint8, one scale and zero point "
                "per tensor, taken from each image as it comes; convolutions, the decoder's "
                "heads, attention, softmax, norms and GELU are computed in float32",
                "w8a8": "as w8d, with ranges calibrated on photos, min-max; the first "
                "self-attention's projections are computed in float32",
            },
            calibrated=("w8a8",),
            calibration_methods=("min-max", "entropy"),
            refused={
                "w4": "ONNX has 4-bit types from opset 21 on, newer than the files' default",
                "w8a16": "ONNX Runtime's kernels that multiply integers take 8-bit inputs alone",
                **_NO_PALETTES,
            },
            seconds=30,
            limit=SizeLimit(
                size_bytes=_TWO_GB,
                reason="an ONNX file is a protobuf message, which ends at 2 GB",
                halved=("fp16",),
            ),
        ),
        EXECUTORCH: Target(
            title="ExecuTorch",
            module="converters.executorch.convert",
            packages=("executorch", "torchao"),
            extra="executorch",
            artefacts=(
                Artefact(
                    suffix=".pte",
                    runtime="executorch",
                    least_tested=dict.fromkeys(("fp32", "w8d", "w8a8"), "ExecuTorch 1.5.1"),
                    note="lowered to XNNPACK, for the CPU",
                ),
            ),
            schemes={
                "fp32": FP32,
                "w8d": "dynamic int8: "
                "linear layers with int8 weights, symmetric, one float32 scale per output "
                "channel, and int8 inputs, one scale and zero point per token, found at each run; "
                f"constant tables of more than {SMALL} elements in int8, a scale per head or "
                "channel; all else float32",
                "w8a8": "as w8d, and convolutions too; inputs and outputs of linear layers and "
                "convolutions in int8, one scale and zero point per tensor, calibrated on photos; "
                "softmax, norms, GELU, attention's products, sums and coordinates stay float32",
            },
            calibrated=("w8a8",),
            calibration_methods=("min-max", "moving-average", "mse"),
            refused={
                "fp16": "its XNNPACK programs in float16 gave other embeddings, relative L2 0.65, "
                "and masks that are not numbers",
                "w8": "XNNPACK has no kernels for int8 weights beside float inputs: every such "
                "layer fell to a portable kernel, its weights made float again at each run",
                "w4": "XNNPACK's quantizer shares a 4-bit scale over an output channel, not over "
                "a block of 32 of its inputs",
                "w8a16": "XNNPACK has no kernels with 16-bit activations",
                **_NO_PALETTES,
            },
            backends={
                "coreml": Target(
                    title="ExecuTorch (Core ML)",
                    module="converters.executorch.convert",
                    packages=("executorch", "torchao", "coremltools"),
                    extra="executorch,coreml",
                    artefacts=(
                        Artefact(
                            suffix=".pte",
                            runtime="executorch_coreml",
                            least_tested=dict.fromkeys(("fp32", "fp16"), NO_DEVICE),
                            note="lowered to Core ML, for Apple's devices",
                        ),
                    ),
                    schemes={"fp32": FP32, "fp16": _COREML_FP16},
                    refused={
                        **dict.fromkeys(
                            ("w8d", "w8a8"), "its int8 layers are made for XNNPACK's kernels"
                        ),
                        **dict.fromkeys(
                            ("w8", "w4", "p8", "p6", "p4"),
                            "ExecuTorch's Core ML backend is given float programs; target coreml "
                            "has it",
                        ),
                        "w8a16": "coremltools quantizes activations to 8 bits alone",
                    },
                    seconds=40,
                )
            },
            seconds=80,
        ),
        "coreai": Target(
            title="Core AI (beta)",
            module="converters.coreai.convert",
            packages=("coreai-torch", "coreai-opt"),  # the former pins coreai-core
            extra="coreai",
            artefacts=(
                Artefact(
                    suffix=".aimodel",
                    runtime="coreai",
                    least_tested=dict.fromkeys(("fp32", "fp16", "w8"), "coreai-core 1.0.0b3"),
                    note="beta: Apple's tools are, and systems before iOS and macOS 27 have no "
                    "Core AI",
                ),
            ),
            schemes={
                "fp32": FP32,
                "fp16": "float16 weights, computed in float16; the prompt encoder, the image's "
                "normalisation, channel norms and the inside of layer norms stay float32",
                "w8": "fp16 with int8 weights, symmetric, one scale per output channel; transposed "
                f"convolutions, attention's tables, {_KEPT} stay float",
            },
            refused={
                "w4": "coreai-opt gives linear layers and convolutions one precision, and with "
                "both in 4 bits the embedding was off by a relative L2 of 0.066 (at 128 x 128)",
                **dict.fromkeys(
                    ("p8", "p6", "p4"),
                    "coreai-opt's k-means needs a C++ compiler at the time of the export",
                ),
                "w8d": "Core AI's tools have no activations whose ranges are found at run time",
                "w8a8": "a decoder made by coreai-opt's static quantization was not converted and "
                "run within four minutes, so that its files could not be judged",
                "w8a16": "coreai-opt quantizes activations to 8 bits alone",
            },
            beta=True,
            seconds=20,
        ),
    }
)
