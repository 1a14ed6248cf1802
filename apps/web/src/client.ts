/** A bundle as the page sees it: its worker, what it answered, and what that took. */
import type { Candidate } from "./everything";
import type { Photo, Prompt, Tensor } from "./mobilesam";
import type { Step } from "./steps";
import type {
  Accelerator,
  BundleEntry,
  Component,
  Decoded,
  Encoded,
  Opened,
  Progress,
  Question,
  Reply,
} from "./worker/protocol";

interface Waiting {
  resolve(answer: never): void;
  reject(error: Error): void;
  progress?: (progress: Progress) => void;
}

const SCRIPTS = {
  litert: { cpu: "litert", gpu: "litert" },
  onnxruntime: { cpu: "onnx", gpu: "onnx-webgpu" },
} as const;

/** How many threads wasm may use: one where the page is not isolated from other origins. */
export const THREADS = globalThis.crossOriginIsolated
  ? Math.max(1, Math.min(8, navigator.hardwareConcurrency ?? 1))
  : 1;

/** Of a bundle's worker: null leaves the number of threads to the page. */
export interface Limits {
  threads: number | null;
  components: Component[];
}

export class Client {
  opened: Opened | null = null;
  encoded: Encoded | null = null;
  /** Of the last prompt that was decoded. */
  decoded: Decoded | null = null;
  private worker: Worker | null = null;
  private opening: Promise<Opened> | null = null;
  private encoding: { photo: Photo; done: Promise<Encoded> } | null = null;
  private answers = new Map<Step, Promise<Decoded>>();
  private waiting = new Map<number, Waiting>();
  private asked = 0;

  constructor(
    readonly entry: BundleEntry,
    private readonly accelerator: Accelerator,
    private readonly limits: Limits = { threads: null, components: ["encoder", "decoder"] },
  ) {}

  /** Whether the worker is running and holds the photo's embedding. */
  holds(photo: Photo): boolean {
    return this.encoding?.photo === photo && this.encoded !== null;
  }

  /** Load the files; the worker is started on first use. */
  open(progress?: (progress: Progress) => void): Promise<Opened> {
    this.opening ??= this.ask<Opened>(
      {
        kind: "open",
        folder: new URL(`${this.entry.folder}/`, document.baseURI).href,
        page: new URL("./", document.baseURI).href,
        runtime: this.entry.runtime,
        accelerator: this.accelerator,
        threads: Math.min(this.limits.threads ?? THREADS, THREADS),
        components: this.limits.components,
      },
      progress,
    ).then((opened) => (this.opened = opened));
    return this.opening;
  }

  /** Encode a photo, once. */
  async encode(photo: Photo, progress?: (progress: Progress) => void): Promise<Encoded> {
    await this.open(progress);
    if (this.encoding?.photo !== photo) {
      this.answers.clear();
      this.encoded = null;
      this.decoded = null;
      this.encoding = { photo, done: this.ask<Encoded>({ kind: "encode", photo }) };
    }
    const { done } = this.encoding;
    const encoded = await done;
    if (this.encoding.photo === photo) this.encoded = encoded;
    return encoded;
  }

  /** The answer to a step of the encoded photo; a step that refines is given this bundle's own mask. */
  decode(step: Step): Promise<Decoded> {
    const known = this.answers.get(step);
    if (known) return known;
    const answer = this.decodeAnew(step);
    this.answers.set(step, answer);
    return answer;
  }

  /** The masks that the decoder offers for a point of the encoded photo. */
  candidates(point: { x: number; y: number }, least: number): Promise<Candidate[]> {
    return this.ask({ kind: "candidates", point, least });
  }

  /** Run one component on raw tensors. */
  run(component: Component, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    return this.ask({ kind: "run", component, inputs });
  }

  /** End the worker and free its memory. What was measured stays. */
  close(): void {
    this.worker?.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error("the bundle was closed"));
    this.waiting.clear();
    this.worker = null;
    this.opening = null;
    this.encoding = null;
    this.answers.clear();
  }

  private async decodeAnew(step: Step): Promise<Decoded> {
    const before = step.refines && step.previous ? await this.decode(step.previous) : null;
    const prompt: Prompt = {
      points: step.points,
      box: step.box,
      maskInput: before?.lowRes ?? null,
    };
    this.decoded = await this.ask<Decoded>({ kind: "decode", prompt });
    return this.decoded;
  }

  private ask<Answer>(
    question: Question,
    progress?: (progress: Progress) => void,
  ): Promise<Answer> {
    const worker = (this.worker ??= this.started());
    const id = this.asked++;
    return new Promise<Answer>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      worker.postMessage({ id, question });
    });
  }

  private started(): Worker {
    const name = SCRIPTS[this.entry.runtime][this.accelerator];
    const worker = new Worker(new URL(`worker/${name}.js`, document.baseURI));
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const waiting = this.waiting.get(data.id);
      if (!waiting) return;
      if ("progress" in data) return waiting.progress?.(data.progress);
      this.waiting.delete(data.id);
      if ("error" in data) waiting.reject(new Error(data.error));
      else waiting.resolve(data.answer as never);
    };
    worker.onerror = (event) => {
      const error = new Error(event.message || `the worker of ${this.entry.name} did not start`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    };
    return worker;
  }
}
