/** ONNX files in ONNX Runtime Web, by whichever of its builds is given. */
import type * as ORT from "onnxruntime-web";
import type { Tensor } from "../mobilesam";
import type { Component, FileRecord, Open } from "./protocol";
import type { Engine } from "./serve";

export class ONNXRuntime implements Engine {
  name = "ONNX Runtime Web";
  private gpu = false;
  private readonly sessions = new Map<Component, ORT.InferenceSession>();

  /**
   * @param ort the package.
   * @param files name of its wasm and of its script, without their endings.
   */
  constructor(
    private readonly ort: typeof ORT,
    private readonly files: string,
  ) {}

  async start({ page, accelerator, threads }: Open): Promise<void> {
    const { wasm } = this.ort.env;
    wasm.wasmPaths = {
      mjs: `${page}onnx/${this.files}.mjs`,
      wasm: `${page}onnx/${this.files}.wasm`,
    };
    wasm.numThreads = threads;
    this.ort.env.logLevel = "error";
    this.gpu = accelerator === "gpu";
    this.name = this.gpu
      ? "ONNX Runtime Web on WebGPU"
      : `ONNX Runtime Web, ${threads === 1 ? "one thread" : `${threads} threads`}`;
  }

  async load(component: Component, _file: FileRecord, bytes: Uint8Array): Promise<void> {
    const session = await this.ort.InferenceSession.create(bytes, {
      executionProviders: this.gpu ? ["webgpu"] : ["wasm"],
      graphOptimizationLevel: "all",
    });
    this.sessions.set(component, session);
  }

  async run(component: Component, inputs: Record<string, Tensor>) {
    const given: Record<string, ORT.Tensor> = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) {
      given[name] =
        data instanceof Uint8Array
          ? new this.ort.Tensor("uint8", data, [...shape])
          : new this.ort.Tensor("float32", data, [...shape]);
    }
    const found = await this.sessions.get(component)!.run(given);
    const answers: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(found)) {
      const data = (await tensor.getData()) as Float32Array | Uint8Array;
      answers[name] = { data, shape: tensor.dims };
    }
    return answers;
  }
}
