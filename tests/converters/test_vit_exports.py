"""SAM's own image encoder, a small one, in every target and scheme: its files are as TinyViT's are.

The position tables are for another size than the files', and large enough to be compressed. The
decoder is the same module in every variant, and is tested with TinyViT's bundles.
"""

import pytest
import torch

from converters.lookup import combinations
from converters.modules import build_module
from converters.schemes import TARGETS
from converters.selection import within_limits
from mobilesam.errors import InputError
from mobilesam.model.build import build
from mobilesam.runtimes.bundle import Bundle
from parity.weight_audit.audit import audit
from parity.weight_audit.run import read_file
from tests.converters.test_targets import LIMITS, RUN, variations
from tests.rounding import Rounding, relative_l2
from tests.tiny_bundles import vit_bundle, vit_model

# Lowering a quantized program takes a minute: of ExecuTorch's two schemes, here is the one whose
# files of TinyViT are not run elsewhere.
ALL = [
    pytest.param(*pair, id="-".join(pair))
    for pair in combinations()
    if pair != ("executorch", "w8a8")
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "scheme"),
    # As of TinyViT: Core ML's programs are evaluated elsewhere, four bits judged with trained ones.
    [each for each in ALL if each.values[0] != "coreml" and each.values[1] in ("fp32", *LIMITS)],
)
def test_files_compute_what_the_module_computes(target: str, scheme: str) -> None:
    bundle: Bundle = vit_bundle(target, scheme)
    contract = bundle.manifest.contract
    module = build_module(vit_model(), "encoder", contract)
    for inputs in variations(contract, "encoder"):
        with torch.no_grad(), Rounding() as rounding:
            wanted = module(**inputs)
        limit = rounding.tolerance if scheme == "fp32" else LIMITS[scheme]
        for runtime in bundle.runtimes:
            path = bundle.file("encoder", runtime)
            (found,) = RUN[runtime](path, contract.signature("encoder"), inputs)
            assert relative_l2(found, wanted) <= limit, runtime


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme"), ALL)
def test_every_parameter_is_found_in_the_file(target: str, scheme: str) -> None:
    bundle = vit_bundle(target, scheme)
    constants = tuple(read_file(bundle, bundle.runtimes[0], "encoder"))
    found = audit(vit_model(), "encoder", constants)
    assert not found.missing and not found.wrong
    assert found.excess <= 1
    assert found.found == found.total


@pytest.mark.slow
def test_no_tensor_of_a_tflite_file_has_more_than_four_axes() -> None:
    from ai_edge_litert.interpreter import Interpreter

    for scheme in ("fp32", "w8a8"):
        bundle = vit_bundle("tflite", scheme)
        details = Interpreter(str(bundle.file("encoder", "litert"))).get_tensor_details()
        assert len(details) > 100 and max(len(each["shape"]) for each in details) <= 4


def test_what_a_format_cannot_hold_is_refused_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with torch.device("meta"):
        models = {variant: build(variant) for variant in ("vit_b", "vit_l", "vit_h")}
    every = list(combinations())
    for small in ("vit_b", "vit_l"):
        assert within_limits(every, TARGETS, models[small]) == every
    assert not caplog.messages
    huge = models["vit_h"]
    with pytest.raises(InputError, match="'tflite'.*'vit_h'.*2.5 GB.*flatbuffer.*coreml"):
        within_limits([("tflite", "w8")], ["tflite"], huge)
    with pytest.raises(InputError, match="'onnx' cannot be exported in w8d.*onnx in fp16"):
        within_limits([("onnx", "w8d")], ["onnx"], huge)
    assert within_limits([("onnx", "fp16")], ["onnx"], huge) == [("onnx", "fp16")]
    left = within_limits(every, ["all"], huge)
    assert {target for target, _ in left} == {*TARGETS} - {"tflite"}
    assert [scheme for target, scheme in left if target == "onnx"] == ["fp16"]
    assert len(caplog.messages) == len(every) - len(left)
    assert all(message.startswith("left out: target") for message in caplog.messages)
    with pytest.raises(InputError, match="flatbuffer"):
        within_limits([("tflite", "fp32")], ["all"], huge)
