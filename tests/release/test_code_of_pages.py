"""The code of a release's pages: compiled, or run against what the contract feeds."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.bundle.contract import pack_image, pack_prompt
from mobilesam.emulators import kotlin, swift
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes.bundle import Bundle
from tests.conftest import require_emulator
from tests.release.test_release import NAMES, blocks
from tests.web.browsers import page_folder

STUB = """\
import { readFileSync } from "node:fs";
import { dirname } from "node:path";

export class Tensor {
  constructor(...given) {
    [this.dtype, this.values, this.shape] =
      given.length === 3 ? given : [given[0].constructor.name, ...given];
  }
  delete() {}
}

function opened(path) {
  const manifest = JSON.parse(readFileSync(`${dirname(path)}/manifest.json`, "utf-8"));
  const component = path.includes("encoder") ? "encoder" : "decoder";
  const { outputs, name } = manifest.signatures[component];
  return { run: async (...asked) => answer(component, name, outputs, asked) };
}

function answer(component, name, outputs, asked) {
  if (asked.length === 2 && asked[0] !== name) throw new Error(`no signature ${asked[0]}`);
  for (const [tensor, { values, shape }] of Object.entries(asked.at(-1))) {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    const dtype = values.constructor.name;
    const data = bytes.toString("base64");
    console.log(JSON.stringify({ component, tensor, dtype, shape, data }));
  }
  const made = outputs.map(({ name, shape, dtype }) => {
    const kind = dtype === "uint8" ? Uint8Array : Float32Array;
    const data = new kind(shape.reduce((a, b) => a * b)).fill(dtype === "uint8" ? 255 : 1);
    const type = { layout: { dimensions: shape } };
    const read = async () => data;
    return [name, { type, dims: shape, data: read, getData: read, delete() {} }];
  });
  return Object.fromEntries(made);
}

export const InferenceSession = { create: async (path) => opened(path) };
export const loadAndCompile = async (path) => opened(path);
export const loadLiteRt = async () => {};
"""

RUN = """\
import { readFileSync } from "node:fs";
import { click } from "./page.mjs";
const data = new Uint8ClampedArray(readFileSync("photo.rgba"));
const mask = await click({ width: 101, height: 70, data }, 60, 30);
console.log(JSON.stringify({ mask: mask.length, sum: mask.reduce((a, b) => a + b) }));
"""


@pytest.mark.slow
def test_kotlin_compiles(released: Path, repository: Path, tmp_path: Path) -> None:
    require_emulator("kotlin")
    found = blocks(released / "android.md", "kotlin")
    assert len(found) == 4  # the library's and LiteRT's, of two bundles
    for number, text in enumerate(found):
        (tmp_path / f"Block{number}.kt").write_text(text, "utf-8")
    sources = [
        repository / "apps/android/mobilesam/src/main/kotlin",
        repository / "tests/apps/android_stubs",
        tmp_path,
    ]
    path = os.pathsep.join(map(str, kotlin.libraries()))

    def compiled() -> subprocess.CompletedProcess[str]:
        options = ["-Werror", "-cp", path, "-d", str(tmp_path / "out")]
        command = [*kotlin.compiler(), *options, *map(str, sources)]
        environment = kotlin.environment(os.environ)
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = compiled()
    assert done.returncode == 0, done.stderr
    block = tmp_path / "Block0.kt"
    block.write_text(found[0].replace("openBundle(assets", "openBundles(assets"), "utf-8")
    done = compiled()
    assert done.returncode != 0 and "Block0.kt" in done.stderr


@pytest.mark.slow
def test_swift_parses(released: Path, tmp_path: Path) -> None:
    require_emulator("swift")
    found = blocks(released / "ios.md", "swift")
    assert len(found) == 2

    def parsed(text: str) -> int:
        (tmp_path / "Block.swift").write_text(text, "utf-8")
        program = ["swiftc", "-frontend", "-parse", "Block.swift"]
        command = swift.command(program, [tmp_path], tmp_path)
        return subprocess.run(command, capture_output=True).returncode

    assert [parsed(text) for text in found] == [0, 0]
    assert parsed(found[1].replace("{", "", 1)) != 0


@pytest.mark.parametrize("name", NAMES[:3])
def test_javascript_feeds_what_the_contract_says(name: str, released: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js 20 or newer")
    found = blocks(released / "web.md", "js")
    assert len(found) == 3
    (text,) = (block for block in found if f"bundles/{name}/" in block)
    shutil.copyfile(page_folder() / "mobilesam.js", tmp_path / "mobilesam.js")
    for package in ("onnxruntime-web", "@litertjs/core"):
        folder = tmp_path / "node_modules" / package
        folder.mkdir(parents=True)
        (folder / "index.mjs").write_text(STUB, "utf-8")
        (folder / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}')
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    (tmp_path / "page.mjs").write_text(text, "utf-8")
    (tmp_path / "run.mjs").write_text(RUN, "utf-8")
    (tmp_path / "bundles").symlink_to(released / "bundles")
    rgba = np.random.default_rng(0).integers(0, 256, (70, 101, 4), np.uint8)
    (tmp_path / "photo.rgba").write_bytes(rgba.tobytes())
    done = subprocess.run([node, "run.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *fed, drawn = (json.loads(line) for line in done.stdout.splitlines())
    assert drawn == {"mask": 70 * 101, "sum": 70 * 101}

    bundle = Bundle(released / "bundles" / name)
    contract, rgb = bundle.manifest.contract, np.asarray(Image.fromarray(rgba).convert("RGB"))
    prompt = make_prompt([[60, 30]], [1], None, original_size=(70, 101))
    frame = Frame((70, 101), contract.image_size)
    grid = contract.image_size // contract.stride
    embedding = np.ones((1, contract.channels, grid, grid), np.float32)
    wanted = {
        "encoder": pack_image(rgb, contract),
        "decoder": {"image_embeddings": embedding, **pack_prompt(prompt, frame, contract)},
    }
    assert {(e["component"], e["tensor"]) for e in fed} == {
        (component, tensor) for component, own in wanted.items() for tensor in own
    }
    for each in fed:
        expected = wanted[each["component"]][each["tensor"]]
        dtype = {"Float32Array": "float32", "Uint8Array": "uint8"}[each["dtype"]]
        assert dtype == expected.dtype.name, each["tensor"]
        given = np.frombuffer(base64.b64decode(each["data"]), dtype).reshape(each["shape"])
        if each["tensor"] == "image" and dtype == "uint8":
            # What lies beside the photo, and the fourth value, are not read.
            height, width = frame.valid_size
            given, expected = (a[:, :height, :width, :3] for a in (given, expected))
        assert np.array_equal(given, expected), each["tensor"]
