/** A bundle in a worker: its files fetched and opened, a photo encoded once, prompts decoded. */
import { candidatesOf, type Candidate } from "../everything";
import { fetched, fetchedJSON } from "../fetched";
import {
  MobileSAMError,
  answerOf,
  contractOf,
  decoderInputs,
  encoderInputs,
  frameOf,
  type Contract,
  type Frame,
  type Prompt,
  type Tensor,
} from "../mobilesam";
import type {
  Candidates,
  Component,
  Decode,
  Decoded,
  Encode,
  Encoded,
  FileRecord,
  Open,
  Opened,
  Progress,
  Question,
  Reply,
} from "./protocol";

/** A runtime that opens a bundle's files. */
export interface Engine {
  /** Load the runtime itself. */
  start(question: Open): Promise<void>;
  load(component: Component, file: FileRecord, bytes: Uint8Array): Promise<void>;
  run(component: Component, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  /** Which runtime computes, and on what, in words. */
  readonly name: string;
}

/** Of a dedicated worker's global scope, which TypeScript's library for pages lacks. */
const scope = self as unknown as {
  postMessage(message: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<{ id: number; question: Question }>) => void) | null;
};

class Session {
  private contract!: Contract;
  private frame!: Frame;
  private embedding: Tensor | null = null;

  constructor(private readonly engine: Engine) {}

  async open(question: Open, report: (progress: Progress) => void): Promise<Opened> {
    const begun = performance.now();
    const manifest = await fetchedJSON<{ files: FileRecord[] }>(`${question.folder}manifest.json`);
    this.contract = contractOf(manifest);
    const files = manifest.files.filter(
      ({ runtime, component }) =>
        runtime === question.runtime && question.components.includes(component),
    );
    const total = files.reduce((sum, file) => sum + file.size_bytes, 0);
    const started = this.engine.start(question);
    let before = 0;
    const contents = new Map<string, Uint8Array>();
    for (const file of files) {
      if (!contents.has(file.path)) {
        const known = before;
        const bytes = await downloaded(question.folder + file.path, file, (loaded) =>
          report({ loaded: known + loaded, total }),
        );
        contents.set(file.path, bytes);
      }
      before += file.size_bytes;
    }
    await started;
    for (const file of files) {
      await this.engine.load(file.component, file, contents.get(file.path)!);
    }
    return { engine: this.engine.name, loadMs: performance.now() - begun };
  }

  async encode({ photo }: Encode): Promise<Encoded> {
    const begun = performance.now();
    this.embedding = null;
    this.frame = frameOf(photo.height, photo.width, this.contract.imageSize);
    const inputs = encoderInputs(photo, this.contract);
    const prepared = performance.now();
    this.embedding = (await this.engine.run("encoder", inputs)).image_embeddings;
    return { prepareMs: prepared - begun, encodeMs: performance.now() - prepared };
  }

  async decode({ prompt }: Decode): Promise<Decoded> {
    const begun = performance.now();
    const outputs = await this.decoded(prompt);
    const decoded = performance.now();
    const answer = answerOf(outputs, prompt, this.frame, this.contract);
    return { ...answer, decodeMs: decoded - begun, upscaleMs: performance.now() - decoded };
  }

  async candidates({ point, least }: Candidates): Promise<Candidate[]> {
    const outputs = await this.decoded({ points: [{ ...point, foreground: true }] });
    return candidatesOf(outputs, point, this.frame, this.contract.threshold, least);
  }

  /** The decoder's outputs for a prompt about the encoded photo. */
  private async decoded(prompt: Prompt): Promise<Record<string, Tensor>> {
    if (this.embedding === null) throw new MobileSAMError("no photo has been encoded yet");
    const inputs = decoderInputs(prompt, this.frame, this.contract);
    return this.engine.run("decoder", { image_embeddings: this.embedding, ...inputs });
  }

  async answer(question: Question, report: (progress: Progress) => void): Promise<unknown> {
    switch (question.kind) {
      case "open":
        return this.open(question, report);
      case "encode":
        return this.encode(question);
      case "decode":
        return this.decode(question);
      case "candidates":
        return this.candidates(question);
      case "run":
        return this.engine.run(question.component, question.inputs);
    }
  }
}

/** Answer the page's questions, one after the other. */
export function serve(engine: Engine): void {
  const session = new Session(engine);
  let last: Promise<unknown> = Promise.resolve();
  scope.onmessage = ({ data: { id, question } }) => {
    const report = (progress: Progress) => scope.postMessage({ id, progress });
    last = last
      .then(() => session.answer(question, report))
      .then((answer) => {
        const mask = (answer as Partial<Decoded>).mask;
        scope.postMessage({ id, answer }, mask ? [mask.buffer as ArrayBuffer] : []);
      })
      .catch((error) => scope.postMessage({ id, error: words(error) }));
  };
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A file's bytes, checked against the manifest's digest where the browser can compute it. */
async function downloaded(
  address: string,
  file: FileRecord,
  report: (loaded: number) => void,
): Promise<Uint8Array> {
  const response = await fetched(address);
  const bytes = new Uint8Array(file.size_bytes);
  let loaded = 0;
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length <= bytes.length) bytes.set(value, loaded);
    loaded += value.length;
    report(loaded);
  }
  if (loaded !== bytes.length || ((await digest(bytes)) ?? file.sha256) !== file.sha256) {
    throw new MobileSAMError(
      `'${file.path}' is not the file that was exported (its SHA-256 differs from the manifest's): ` +
        "copy the bundle again",
    );
  }
  return bytes;
}

/** Hex SHA-256; null on pages that were not loaded securely, where browsers offer none. */
async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string | null> {
  if (!globalThis.crypto?.subtle) return null;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
