"""Runs an ONNX file in one consumer: ``python consumer_runs.py NAME FILE CASES.npz ANSWERS.npz``.

In the consumer's own environment, which has NumPy and the consumer and nothing of this project.
``CASES.npz`` holds arrays named ``<case>/<input>`` in the file's order of inputs; ``ANSWERS.npz``
gets ``<case>/<output>``. Whatever goes wrong is raised: the consumer refuses the file.
"""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

Run = Callable[[dict[str, np.ndarray]], list]

OUTPUTS = {
    "image": ["image_embeddings"],
    "image_embeddings": ["low_res_masks", "iou_predictions"],
    "photo": ["image_embeddings"],
    "marks": ["masks"],
}
"""Names of the outputs by that of the first input."""


def onnxruntime(path: str, names: list[str], outputs: list[str]) -> Run:
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(outputs, feeds)


def openvino(path: str, names: list[str], outputs: list[str]) -> Run:
    ov = import_module("openvino")
    model = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(feeds: dict[str, np.ndarray]) -> list:
        found = model(feeds)
        return [found[name] for name in outputs]

    return run


def opencv(path: str, names: list[str], outputs: list[str]) -> Run:
    cv2 = import_module("cv2")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    net = cv2.dnn.readNetFromONNX(path)

    def run(feeds: dict[str, np.ndarray]) -> list:
        for name, array in feeds.items():
            net.setInput(array, name)
        return net.forward(outputs)

    return run


def tract(path: str, names: list[str], outputs: list[str]) -> Run:
    model = import_module("tract").onnx().load(path).into_model().into_runnable()
    return lambda feeds: [value.to_numpy() for value in model.run([feeds[n] for n in names])]


def mnn(path: str, names: list[str], outputs: list[str]) -> Run:
    expr, nn = import_module("MNN.expr"), import_module("MNN.nn")
    made = f"{path}.mnn"
    command = ["-f", "ONNX", "--modelFile", path, "--MNNModel", made, "--bizCode", "mobilesam"]
    converter = Path(sys.executable).with_name("mnnconvert")
    told = subprocess.run([converter, *command], capture_output=True, text=True)
    if not Path(made).exists():
        raise RuntimeError((told.stdout + told.stderr).strip().splitlines()[-1])
    module = nn.load_module_from_file(made, names, outputs)

    def run(feeds: dict[str, np.ndarray]) -> list:
        given = [expr.const(a, list(a.shape), expr.NCHW, expr.float) for a in feeds.values()]
        return [np.array(expr.convert(v, expr.NCHW).read()) for v in module.forward(given)]

    return run


def ncnn(path: str, names: list[str], outputs: list[str]) -> Run:
    library = import_module("ncnn")
    pnnx = Path(
        str(distribution("pnnx").locate_file("pnnx/pnnx"))
    )  # the package itself imports torch
    subprocess.run([pnnx, path], check=True, capture_output=True, cwd=Path(path).parent)
    net = library.Net()
    net.opt.use_vulkan_compute = False
    made = path.removesuffix(".onnx") + ".ncnn"
    if net.load_param(f"{made}.param") or net.load_model(f"{made}.bin"):
        raise RuntimeError("it has layers that ncnn lacks")

    def run(feeds: dict[str, np.ndarray]) -> list:
        extractor = net.create_extractor()
        for index, array in enumerate(feeds.values()):
            # Its tensors have no batch.
            whole = np.ascontiguousarray(array[0] if array.ndim > 1 else array)
            extractor.input(f"in{index}", library.Mat(whole).clone())
        answers = []
        for index in range(len(outputs)):
            status, value = extractor.extract(f"out{index}")
            if status:
                raise RuntimeError(f"it cannot compute output {index}")
            answers.append(np.array(value)[None])
        return answers

    return run


def onnxsim(path: str, names: list[str], outputs: list[str]) -> Run:
    onnx = import_module("onnx")
    model, same = import_module("onnxsim").simplify(path)
    if not same:
        raise RuntimeError("its own check fails")
    onnx.save(model, f"{path}.simplified.onnx")
    return onnxruntime(f"{path}.simplified.onnx", names, outputs)


def onnxslim(path: str, names: list[str], outputs: list[str]) -> Run:
    onnx = import_module("onnx")
    onnx.save(import_module("onnxslim").slim(path), f"{path}.slim.onnx")
    return onnxruntime(f"{path}.slim.onnx", names, outputs)


def samexporter(path: str, names: list[str], outputs: list[str]) -> Run:
    """Its runtime opens both files and draws; a photo is RGB, marks are [N, 3]: x, y, label."""
    runtime = import_module("samexporter.sam_onnx").SegmentAnythingONNX
    folder = Path(path).parent
    model = runtime(str(folder / "encoder.onnx"), str(folder / "decoder.onnx"), providers="cpu")

    def run(feeds: dict[str, np.ndarray]) -> list:
        encoded = model.encode(np.ascontiguousarray(feeds["photo"][..., ::-1]))
        if "marks" not in feeds:
            return [encoded["image_embedding"]]
        rows = feeds["marks"].tolist()
        marks = [
            {"type": "point", "data": [x, y], "label": int(label)}
            for x, y, label in rows
            if label < 2
        ]
        corners = [value for x, y, label in rows if label >= 2 for value in (x, y)]
        boxes = [{"type": "rectangle", "data": corners}] if corners else []
        return [model.predict_masks(encoded, boxes + marks)]

    return run


CONSUMERS = (onnxruntime, openvino, opencv, tract, mnn, ncnn, onnxsim, onnxslim, samexporter)


def main() -> None:
    name, path, asked, answered = sys.argv[1:]
    with np.load(asked) as saved:
        arrays = {key: saved[key] for key in saved.files}
    cases = list(dict.fromkeys(key.split("/")[0] for key in arrays))
    names = [key.split("/")[1] for key in arrays if key.startswith(f"{cases[0]}/")]
    outputs = OUTPUTS[names[0]]
    consumer = next(each for each in CONSUMERS if each.__name__ == name)
    run = consumer(path, names, outputs)
    answers = {}
    for case in cases:
        found = run({each: arrays[f"{case}/{each}"] for each in names})
        for output, value in zip(outputs, found, strict=True):
            answers[f"{case}/{output}"] = np.asarray(value, np.float32)
    np.savez(answered, **answers)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
