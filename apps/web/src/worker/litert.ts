/** TFLite files in LiteRT.js. */
import {
  Tensor as LiteRTTensor,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  type CompiledModel,
} from "@litertjs/core";
import type { Tensor } from "../mobilesam";
import type { Component, FileRecord, Open } from "./protocol";
import { serve, type Engine } from "./serve";

class LiteRT implements Engine {
  name = "LiteRT.js";
  private gpu = false;
  private threads = 1;
  private readonly models = new Map<Component, CompiledModel>();
  private readonly functions = new Map<Component, string>();

  async start({ page, accelerator, threads }: Open): Promise<void> {
    const folder = `${page}litert/`;
    this.gpu = accelerator === "gpu";
    const manyThreads = !this.gpu && threads > 1 && (await supportsFeature("relaxedSimd"));
    this.threads = manyThreads ? threads : 1;
    // Emscripten takes the script that runs for its own, and its threads would load this worker.
    (self as unknown as { Module: object }).Module = {
      locateFile: (name: string) => folder + name,
      mainScriptUrlOrBlob: `${folder}litert_wasm_threaded_internal.js`,
    };
    const jspi = this.gpu && (await supportsFeature("jspi"));
    await loadLiteRt(folder, { threads: manyThreads, jspi });
    this.name = this.gpu
      ? "LiteRT.js on WebGPU"
      : `LiteRT.js, ${this.threads === 1 ? "one thread" : `${this.threads} threads`}`;
  }

  async load(component: Component, file: FileRecord, bytes: Uint8Array): Promise<void> {
    const model = await loadAndCompile(bytes, {
      accelerator: this.gpu ? "webgpu" : "wasm",
      cpuOptions: { numThreads: this.threads },
      gpuOptions: { precision: "fp32" },
    });
    this.models.set(component, model);
    const own = component === "encoder" ? "encode" : "decode";
    this.functions.set(component, file.function || own);
    if (this.gpu && !model.isFullyAccelerated) this.name = "LiteRT.js, partly on WebGPU";
  }

  async run(component: Component, inputs: Record<string, Tensor>) {
    const given: Record<string, LiteRTTensor> = {};
    const answers: Record<string, Tensor> = {};
    try {
      for (const [name, { data, shape }] of Object.entries(inputs)) {
        const values = data as Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
        const tensor = new LiteRTTensor(values, [...shape]);
        given[name] = this.gpu ? await tensor.moveTo("webgpu") : tensor;
      }
      const found = await this.models.get(component)!.run(this.functions.get(component)!, given);
      for (const [name, tensor] of Object.entries(found)) {
        const data = (await tensor.data()).slice() as Float32Array | Uint8Array;
        answers[name] = { data, shape: [...tensor.type.layout.dimensions] };
        tensor.delete();
      }
    } finally {
      for (const tensor of Object.values(given)) tensor.delete();
    }
    return answers;
  }
}

serve(new LiteRT());
