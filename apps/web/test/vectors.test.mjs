/**
 * src/mobilesam.ts against the library's own numbers, which the Swift package is held to as well.
 *
 *     node --test apps/web/test          after `make web`
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { contract, photoOf, plain, web } from "./shared.mjs";

const fixtures = new URL("../../apple/Tests/MobileSAMTests/Fixtures/vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(process.env.MOBILESAM_VECTORS ?? fixtures, "utf-8"));

test("frames", () => {
  for (const { size, side, valid_size } of vectors.frames) {
    const made = () => web.frameOf(size[0], size[1], side);
    if (valid_size === null) assert.throws(made, web.MobileSAMError);
    else assert.deepEqual([made().height, made().width], valid_size);
  }
});

test("prompts", () => {
  for (const vector of vectors.prompts) {
    const frame = web.frameOf(vector.size[0], vector.size[1], vector.side);
    const counts = [...vector.slot_counts].sort((a, b) => a - b);
    const prompt = {
      points: vector.points.map(([x, y], i) => ({ x, y, foreground: vector.labels[i] === 1 })),
      box: vector.box,
      maskInput: vector.earlier_logits ? new Float32Array(256 * 256) : null,
    };
    const bundle = contract(vector.side, { slots: counts.at(-1), slotCounts: counts });
    const made = () => web.decoderInputs(prompt, frame, bundle);
    if (vector.coords === null) {
      assert.throws(made, web.MobileSAMError);
      continue;
    }
    const inputs = made();
    assert.deepEqual(plain(inputs.point_coords.data), vector.coords);
    assert.deepEqual(plain(inputs.point_labels.data), vector.slot_labels);
    assert.deepEqual(plain(inputs.has_mask_input.data), [vector.earlier_logits ? 1 : 0]);
    assert.equal(web.isAmbiguous(prompt), vector.ambiguous);
  }
});

test("the choice among four masks", () => {
  for (const { iou, ambiguous, chosen } of vectors.choices) {
    assert.equal(web.chosenMask(iou, ambiguous), chosen);
  }
});

test("scaling is Pillow's, level for level", () => {
  for (const { size, side, pixels, scaled_size, scaled } of vectors.scaling) {
    const frame = web.frameOf(size[0], size[1], side);
    const small = web.scaled(photoOf(pixels, size), frame);
    assert.deepEqual([small.height, small.width], scaled_size);
    assert.deepEqual(plain(small.data), plain(photoOf(scaled, scaled_size).data));
  }
});

test("planes, and padding after normalising", () => {
  for (const { size, side, pixels, planes, valid_size, normalized } of vectors.planes) {
    const photo = photoOf(pixels, size);
    const inputs = web.encoderInputs(photo, contract(side));
    assert.deepEqual(plain(inputs.image.data), plain(Buffer.from(planes, "base64")));
    assert.deepEqual(plain(inputs.valid_size.data), valid_size);
    const other = web.encoderInputs(photo, contract(side, { inputVariant: "normalized" }));
    assert.deepEqual(plain(other.image.data), normalized.map(Math.fround));
    assert.equal(other.valid_size, undefined);
  }
});

test("logits at the photo's size", () => {
  for (const { size, side, low_res, logits, mask } of vectors.upscaling) {
    const frame = web.frameOf(size[0], size[1], side);
    const low = Float32Array.from(low_res);
    const found = web.upscaledLogits(low, frame);
    assert.equal(found.length, logits.length);
    found.forEach((value, i) => {
      const apart = Math.abs(value - logits[i]);
      assert.ok(apart <= vectors.logit_tolerance, `${size}: logit ${i} is ${value}, not ${logits[i]}`);
    });
    assert.equal(plain(web.maskOf(low, frame)).join(""), mask.join(""));
  }
});

test("what is no manifest of this contract is refused", () => {
  for (const manifest of [null, {}, { contract_version: "2.0" }]) {
    assert.throws(() => web.contractOf(manifest), web.MobileSAMError);
  }
  assert.throws(
    () => web.contractOf({ contract_version: "1.2", interface: "sam" }),
    web.MobileSAMError,
  );
});

test("a manifest with other tensors is refused", () => {
  const manifest = (name, dtype) => ({
    contract_version: "1.2",
    image_size: 1024,
    stride: 16,
    slots: 8,
    input_variant: "pixels",
    preprocessing: { mean: [1, 2, 3], std: [4, 5, 6] },
    postprocessing: { threshold: 0 },
    signatures: { encoder: { inputs: [{ name, dtype }], outputs: [] } },
  });
  assert.equal(web.contractOf(manifest("image", "float32")).lowResSize, 256);
  assert.equal(web.contractOf(manifest("image", "uint8")).photoSize, null);
  assert.throws(() => web.contractOf(manifest("image", "int8")), web.MobileSAMError);
  assert.throws(() => web.contractOf(manifest("masks", "float32")), web.MobileSAMError);
  assert.throws(() => web.contractOf(manifest("toString", "uint8")), web.MobileSAMError);
});

test("intersection over union", () => {
  const mask = (text) => Uint8Array.from(text, Number);
  assert.equal(web.iou(mask("0110"), mask("0011")), 1 / 3);
  assert.equal(web.iou(mask("0000"), mask("0000")), 1);
});
