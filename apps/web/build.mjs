/**
 * Builds the page into dist/, with the wasm files and the licences of the packages it uses.
 *
 *     npm ci --ignore-scripts && npm run build
 */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { build } from "esbuild";

const LITERT = "node_modules/@litertjs/core/wasm";
const ONNX = "node_modules/onnxruntime-web/dist";
const LITERT_FILES = ["litert_wasm_threaded", "litert_wasm", "litert_wasm_compat", "litert_wasm_jspi"];
const ONNX_FILES = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"];
/** Packages that publish no licence text: what package.json names, as their repositories have it. */
const TEXTS = { "Apache-2.0": "licences/Apache-2.0.txt", MIT: "licences/MIT-Microsoft.txt" };

const common = { bundle: true, target: "es2022", logLevel: "warning", metafile: true };

await rm("dist", { recursive: true, force: true });
await mkdir("dist/litert", { recursive: true });
await mkdir("dist/onnx", { recursive: true });

const made = [
  // The arithmetic as files of their own, to be read and copied: not minified.
  await build({ ...common, entryPoints: ["src/mobilesam.ts", "src/everything.ts"], format: "esm", outdir: "dist" }),
  await build({ ...common, entryPoints: ["src/app.ts", "src/runner.ts"], format: "esm", minify: true, outdir: "dist" }),
  // Classic scripts, for LiteRT.js loads its wasm by importScripts.
  await build({
    ...common,
    entryPoints: ["src/worker/litert.ts", "src/worker/onnx.ts", "src/worker/onnx-webgpu.ts"],
    conditions: ["onnxruntime-web-use-extern-wasm"],
    define: { "import.meta.url": "self.location.href" },
    format: "iife",
    minify: true,
    legalComments: "none",
    outdir: "dist/worker",
  }),
];

for (const name of ["index.html", "runner.html", "style.css", "icon.svg"]) await cp(`src/${name}`, `dist/${name}`);
for (const name of LITERT_FILES) {
  for (const end of ["js", "wasm"]) {
    await cp(`${LITERT}/${name}_internal.${end}`, `dist/litert/${name}_internal.${end}`);
  }
}
for (const name of ONNX_FILES) {
  for (const end of ["mjs", "wasm"]) await cp(`${ONNX}/${name}.${end}`, `dist/onnx/${name}.${end}`);
}
await writeFile("dist/LICENCES.txt", await licences(made));

/** Name, version and licence text of each package that a file of the page was made from. */
async function licences(results) {
  const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const found = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  // onnxruntime-web's own files are made from these two, which are bundled into them.
  const names = new Set([...found.filter(Boolean), "onnxruntime-web", "onnxruntime-common"]);
  const parts = ["The page's own code: Apache-2.0, as mobilesam-export. It comes with these packages."];
  for (const name of [...names].sort()) {
    const about = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf-8"));
    const own = [`node_modules/${name}/LICENSE`, `node_modules/${name}/LICENSE.md`].find(existsSync);
    const text = own ?? TEXTS[about.license];
    if (!text) throw new Error(`no licence text for ${name}, which is ${about.license}`);
    const head = `${name} ${about.version}, ${about.license}`;
    parts.push(`${"-".repeat(head.length)}\n${head}\n\n${await readFile(text, "utf-8")}`);
  }
  return parts.join("\n\n");
}
