/** ONNX files on the CPU. */
import * as ort from "onnxruntime-web/wasm";
import { ONNXRuntime } from "./onnx-engine";
import { serve } from "./serve";

serve(new ONNXRuntime(ort, "ort-wasm-simd-threaded"));
