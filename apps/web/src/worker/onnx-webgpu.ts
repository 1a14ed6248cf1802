/** ONNX files on the GPU; what WebGPU lacks runs on the CPU. */
import * as ort from "onnxruntime-web/webgpu";
import { ONNXRuntime } from "./onnx-engine";
import { serve } from "./serve";

serve(new ONNXRuntime(ort, "ort-wasm-simd-threaded.asyncify"));
