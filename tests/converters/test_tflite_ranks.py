"""Linear layers keep the axes of their input, and what they compute."""

from collections.abc import Callable

import numpy as np
import pytest

from converters.modules import example_inputs
from converters.tflite.ranks import keep_ranks
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.runtimes.bundle import Bundle

litert = pytest.importorskip("ai_edge_litert.interpreter")

GetBundle = Callable[..., Bundle]


def linear_shapes(content: bytes) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of the input and the output of each linear layer."""
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    found = litert.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    shape = {t["index"]: tuple(map(int, t["shape"])) for t in found.get_tensor_details()}
    return [
        (shape[op["inputs"][0]], shape[op["outputs"][0]])
        for op in found._get_ops_details()
        if op["op_name"] == "FULLY_CONNECTED"
    ]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("scheme", ["fp32", "w8d"])
def test_exported_layers_read_and_write_as_many_axes(
    tiny_bundle: GetBundle, scheme: str, component: Component
) -> None:
    path = tiny_bundle("tflite", scheme).file(component, "litert")
    shapes = linear_shapes(path.read_bytes())
    assert shapes
    for read, written in shapes:
        assert read[:-1] == written[:-1] or read[:-1] == (1, 1)  # of one row the axes are no matter


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_file_with_all_axes_is_left_as_it_is(
    tiny_bundle: GetBundle, component: Component
) -> None:
    bundle = tiny_bundle("tflite")
    content = bundle.file(component, "litert").read_bytes()
    again = keep_ranks(content)
    assert linear_shapes(again) == linear_shapes(content)
    examples = example_inputs(bundle.manifest.contract, component)
    inputs = {name: value.numpy() for name, value in examples.items()}
    found, wanted = (_answers(each, inputs) for each in (again, content))
    assert all(np.array_equal(found[name], value) for name, value in wanted.items())


def _answers(content: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = litert.Interpreter(model_content=content)
    signature = found.get_signature_runner(next(iter(found.get_signature_list())))
    return dict(signature(**inputs))
