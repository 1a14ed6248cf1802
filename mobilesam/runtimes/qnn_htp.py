"""ONNX files on the NPU of a Snapdragon phone: Qualcomm's HTP, emulated by its own libraries.

ONNX Runtime gives the whole graph to Qualcomm's execution provider, which compiles it for one chip.
Floats are computed in float16, also those of float32 files. A file with a node that the HTP does
not take is refused: on a phone that node, and the copies to and from it, would run on the CPU.

Source: onnxruntime-qnn 2.7.0, ``docs/execution_providers/QNN-ExecutionProvider.md``.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort
import onnxruntime_qnn

from mobilesam.bundle.contract import Component
from mobilesam.emulators.htp import CHIP, backend, set_up
from mobilesam.errors import BundleError, RefusedError
from mobilesam.runtimes.checked import version_of
from mobilesam.runtimes.onnxruntime import ONNXRuntimeRunner, declared

PROVIDER = "QNNExecutionProvider"
FP16_OPTION = "enable_htp_fp16_precision"


def provider_options() -> dict[str, str]:
    """Options of the provider.

    Without ``soc_model`` it refuses floats, and ONNX Runtime would run all of them on the CPU.
    """
    return {
        "backend_path": str(backend()),
        "soc_model": str(CHIP.model),
        "htp_arch": str(CHIP.architecture),
        FP16_OPTION: "1",
    }


class QNNHTPRunner(ONNXRuntimeRunner):
    """An inference session with Qualcomm's execution provider and nothing else."""

    name = "qnn_htp"

    @classmethod
    def require(cls) -> None:
        set_up()

    @property
    def engine(self) -> str:
        return (
            f"QNN {onnxruntime_qnn.build_and_package_info.qnn_version} in ONNX Runtime "
            f"{version_of('onnxruntime')} (HTP of {CHIP.name}, float16, emulated)"
        )

    @property
    def representative(self) -> bool:
        return False

    def open_file(self, component: Component, path: Path) -> ort.InferenceSession:
        self._require_fixed_shapes(component, path)
        devices = _devices()
        try:
            session = _session(path, devices, fallback=False)
        except Exception as error:
            # The error does not name the nodes: see whether there are any.
            if "CPU EP" not in str(error):
                raise
            outside = assignment(path).outside
            if not outside:
                raise
            raise _refusal(path, outside) from error
        self.check_declared(component, path, *declared(session))
        outside = assigned(session).outside
        if outside:
            raise _refusal(path, outside)
        return session

    def delegate_partitions(self, component: Component) -> int | None:
        """Graphs that Qualcomm's provider made of the file; 1 when it took all of it."""
        session = self._opened[component]
        assert isinstance(session, ort.InferenceSession)
        return assigned(session).partitions

    def _require_fixed_shapes(self, component: Component, path: Path) -> None:
        signature = self.bundle.manifest.signatures[component]
        for spec in (*signature.inputs, *signature.outputs):
            if len(spec.shapes) > 1 or None in spec.shapes[0]:
                raise BundleError(
                    f"{path} has a tensor whose shape varies, '{spec.name}', and the HTP takes "
                    "fixed shapes only: export it with --onnx-interface mobilesam"
                )


class Assignment(NamedTuple):
    """Who runs the nodes of a file.

    Attributes:
        total: nodes, as ONNX Runtime has optimised the graph.
        partitions: graphs that Qualcomm's provider made of them.
        outside: how many nodes of each type another provider runs.
    """

    total: int
    partitions: int
    outside: Counter[str]


def assignment(path: Path) -> Assignment:
    """Who would run the nodes of a file if the CPU were allowed."""
    return assigned(_session(path, _devices(), fallback=True))


def assigned(session: ort.InferenceSession) -> Assignment:
    """Who runs the nodes of an opened file."""
    parts = session.get_provider_graph_assignment_info()
    kinds = [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes()]
    return Assignment(
        len(kinds),
        sum(part.ep_name == PROVIDER for part in parts),
        Counter(kind for name, kind in kinds if name != PROVIDER),
    )


def _refusal(path: Path, outside: Counter[str]) -> RefusedError:
    listed = ", ".join(f"{count} {kind}" for kind, count in outside.most_common())
    return RefusedError(
        f"{path} does not run on Qualcomm's HTP: {outside.total()} of its nodes would stay on the "
        f"CPU ({listed})",
        listed,
    )


def _devices() -> list["ort.OrtEpDevice"]:
    """Qualcomm's devices, its provider registered with ONNX Runtime on the first call."""
    if PROVIDER not in {device.ep_name for device in ort.get_ep_devices()}:
        ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    return [device for device in ort.get_ep_devices() if device.ep_name == PROVIDER]


def _session(
    path: Path, devices: list["ort.OrtEpDevice"], *, fallback: bool
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is an exception all the same
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices, provider_options())
    # Else the Python package tries the CPU by itself where the provider fails.
    return ort.InferenceSession(str(path), sess_options=options, enable_fallback=0)
