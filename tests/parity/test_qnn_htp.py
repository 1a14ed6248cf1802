"""Qualcomm's HTP, emulated: what it may not do unnoticed, and what it must notice."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilesam.errors import BundleError, MissingDependencyError, RefusedError
from mobilesam.runtimes import open_runner, runner_class
from mobilesam.runtimes.bundle import Bundle
from tests.conftest import require_runtime

GetBundle = Callable[..., Bundle]


@pytest.fixture(autouse=True)
def _present(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        require_runtime("qnn_htp")


def test_says_what_computes_and_takes_the_whole_file(tiny_bundle: GetBundle) -> None:
    with open_runner(tiny_bundle("onnx"), "qnn_htp", components=("decoder",)) as runner:
        assert "HTP of SM8750, float16, emulated" in runner.engine
        assert not runner.representative
        assert runner.delegate_partitions("decoder") == 1


def test_without_a_chip_it_does_not_run_on_the_cpu(
    tiny_bundle: GetBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_runtime("qnn_htp")
    from mobilesam.runtimes import qnn_htp

    whole = qnn_htp.provider_options()
    monkeypatch.setattr(
        qnn_htp,
        "provider_options",
        lambda: {name: value for name, value in whole.items() if name != "soc_model"},
    )
    with pytest.raises(BundleError, match="soc_model is not specified"):
        with open_runner(tiny_bundle("onnx"), "qnn_htp", components=("decoder",)):
            pass


@pytest.mark.parametrize("forbidden", [True, False])
def test_a_node_that_stays_on_the_cpu_is_named(
    forbidden: bool, tiny_bundle: GetBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where ONNX Runtime lets it pass: the provider of every node is looked at."""
    from mobilesam.runtimes import qnn_htp

    if not forbidden:
        open_session = qnn_htp._session
        monkeypatch.setattr(
            qnn_htp,
            "_session",
            lambda path, devices, **_: open_session(path, devices, fallback=True),
        )
    with pytest.raises(RefusedError, match="would stay on the CPU") as caught:
        with open_runner(tiny_bundle("onnx", "w8a8"), "qnn_htp", components=("decoder",)):
            pass
    assert caught.value.what.endswith(" DequantizeLinear")


def test_nodes_of_other_providers_are_counted() -> None:
    from mobilesam.runtimes import qnn_htp

    class Node:
        op_type = "Det"

    class Part:
        def __init__(self, name: str) -> None:
            self.ep_name = name

        def get_nodes(self) -> list[Node]:
            return [Node(), Node()]

    class Session:
        def get_provider_graph_assignment_info(self) -> list[Part]:
            return [Part(qnn_htp.PROVIDER), Part("CPUExecutionProvider")]

    assert qnn_htp.assigned(Session()) == (4, 1, Counter({"Det": 2}))


def _edited(bundle: Bundle, folder: Path, edit: Callable[[dict[str, np.ndarray]], None]) -> Bundle:
    """A copy whose decoder has other constants."""
    import onnx
    from onnx import numpy_helper

    copied = Bundle(shutil.copytree(bundle.path, folder / "faulty"))
    path = copied.file("decoder", "onnxruntime")
    model = onnx.load(str(path))
    values = {c.name: numpy_helper.to_array(c).copy() for c in model.graph.initializer}
    edit(values)
    for constant in model.graph.initializer:
        constant.CopyFrom(numpy_helper.from_array(values[constant.name], constant.name))
    onnx.save(model, str(path))
    return copied


def _flip(values: dict[str, np.ndarray]) -> None:
    """Flip the signs of every tenth column of the largest matrix."""
    largest = max((v for v in values.values() if v.ndim == 2), key=lambda v: v.size)
    largest[:, ::10] *= -1


def _scale(values: dict[str, np.ndarray]) -> None:
    """Make the layers that give each mask's weights a tenth larger."""
    last = [n for n in values if "output_hypernetworks_mlps" in n and n.endswith("layers.2.weight")]
    assert len(last) == 4
    for name in last:
        values[name] *= 1.1


@pytest.mark.parametrize("edit", [_flip, _scale])
def test_planted_faults_are_seen(
    edit: Callable[[dict[str, np.ndarray]], None], tiny_bundle: GetBundle, tmp_path: Path
) -> None:
    from tests.parity.test_runners import HALF, expected_of, inputs_of

    bundle = tiny_bundle("onnx")
    inputs = inputs_of(bundle, "decoder")
    (expected, _), _ = expected_of(bundle, "decoder", inputs)
    with open_runner(_edited(bundle, tmp_path, edit), "qnn_htp", components=("decoder",)) as runner:
        found = runner.run("decoder", inputs)["low_res_masks"]
    assert np.linalg.norm(found - expected) > HALF["qnn_htp"] * np.linalg.norm(expected)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64")])
def test_without_its_machine_it_says_where_it_runs(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.emulators import htp

    monkeypatch.setattr(htp.sys, "platform", system)
    monkeypatch.setattr(htp.platform, "machine", lambda: machine)
    assert htp.missing() == (
        f"Qualcomm's HTP is emulated on Linux on x86-64 only, not on {system} {machine}"
    )
    with pytest.raises(MissingDependencyError, match="Linux on x86-64 only"):
        htp.set_up()


def test_without_its_package_it_says_who_must_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from mobilesam.emulators import htp

    monkeypatch.setattr(htp.sys, "platform", "linux")
    monkeypatch.setattr(htp.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(htp.importlib.util, "find_spec", lambda _: None)
    assert htp.missing().endswith('pip install "mobilesam-export[qualcomm]"')
    assert "licence" in htp.missing()


def test_the_runner_asks_for_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = runner_class("qnn_htp")

    monkeypatch.setattr("mobilesam.emulators.htp.missing", lambda: "no HTP here")
    with pytest.raises(MissingDependencyError, match="no HTP here"):
        kind.require()
