/** One component in a worker, driven from outside: what `parity --runtime litert_web` runs. */
import { Client } from "./client";
import { fetchedJSON } from "./fetched";
import type { Tensor } from "./mobilesam";
import type { BundleEntry, Component } from "./worker/protocol";

/** A tensor as text: its values, little-endian, in base64. */
interface Text {
  data: string;
  shape: number[];
  dtype: "float32" | "uint8";
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function textOf({ data, shape }: Tensor): Text {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  }
  const dtype = data instanceof Uint8Array ? "uint8" : "float32";
  return { data: btoa(parts.join("")), shape: [...shape], dtype };
}

const clients = new Map<Component, Client>();

Object.assign(globalThis, {
  /** Load one component of the first bundle; says which runtime computes. */
  async openComponent(component: Component, threads: number | null): Promise<string> {
    const { bundles } = await fetchedJSON<{ bundles: BundleEntry[] }>("bundles.json");
    const client = new Client(bundles[0], "cpu", { threads, components: [component] });
    clients.set(component, client);
    return (await client.open()).engine;
  },

  async runComponent(
    component: Component,
    inputs: Record<string, Text>,
  ): Promise<Record<string, Text>> {
    const tensors: Record<string, Tensor> = {};
    for (const [name, { data, shape, dtype }] of Object.entries(inputs)) {
      const bytes = bytesOf(data);
      tensors[name] = { data: dtype === "uint8" ? bytes : new Float32Array(bytes.buffer), shape };
    }
    const found = await clients.get(component)!.run(component, tensors);
    return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, textOf(value)]));
  },
});
