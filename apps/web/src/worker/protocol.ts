/** What the page and a bundle's worker say to each other. */
import type { Answer, Photo, Prompt, Tensor } from "../mobilesam";

export type Component = "encoder" | "decoder";
export type Accelerator = "cpu" | "gpu";

/** The fields of a manifest.json that name its files. */
export interface FileRecord {
  path: string;
  component: Component;
  runtime: string;
  function: string;
  sha256: string;
  size_bytes: number;
}

/** What a page is told of a bundle, in bundles.json. */
export interface BundleEntry {
  name: string;
  /** Folder relative to the page. */
  folder: string;
  runtime: "litert" | "onnxruntime";
  target: string;
  scheme: string;
  meaning: string;
  /** As the manifest names them, such as `demo`. */
  weights: string;
  sizeBytes: number;
}

export interface Open {
  kind: "open";
  /** Address of the bundle's folder, with a slash at its end. */
  folder: string;
  /** Address of the folder of the page, with a slash at its end. */
  page: string;
  runtime: string;
  accelerator: Accelerator;
  threads: number;
  components: Component[];
}

export interface Encode {
  kind: "encode";
  photo: Photo;
}

export interface Decode {
  kind: "decode";
  prompt: Prompt;
}

/** Ask about a lone point, for the masks of everything. */
export interface Candidates {
  kind: "candidates";
  /** In pixels of the photo. */
  point: { x: number; y: number };
  /** Predicted IoU and stability score that a mask must exceed. */
  least: number;
}

/** Run one component on raw tensors, named as in the manifest. */
export interface Run {
  kind: "run";
  component: Component;
  inputs: Record<string, Tensor>;
}

export type Question = Open | Encode | Decode | Candidates | Run;

export interface Opened {
  /** Which runtime computes, with how many threads, in words. */
  engine: string;
  loadMs: number;
}

export interface Encoded {
  /** Of scaling the photo and of the encoder. */
  prepareMs: number;
  encodeMs: number;
}

export interface Decoded extends Answer {
  decodeMs: number;
  upscaleMs: number;
}

export interface Progress {
  loaded: number;
  total: number;
}

export type Reply =
  | { id: number; progress: Progress }
  | { id: number; answer: unknown }
  | { id: number; error: string };
