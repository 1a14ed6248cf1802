/**
 * src/mobilesam.ts for bundles that take bytes, scale photos themselves, or choose the mask:
 * against a file of numbers that `pytest tests/web` has the library compute.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { contract, photoOf, plain, web } from "./shared.mjs";

const file = process.env.MOBILESAM_WEB_VECTORS;
const skip = file === undefined && "MOBILESAM_WEB_VECTORS names no file: run `pytest tests/web`";
const vectors = skip ? {} : JSON.parse(readFileSync(file, "utf-8"));

test("bytes in each channel order", { skip }, () => {
  for (const { size, side, order, photo_size, pixels, image, shape, valid_size } of vectors.bytes) {
    const bundle = contract(side, {
      inputVariant: "uint8",
      channelOrder: order,
      photoSize: photo_size,
    });
    const photo = photoOf(pixels, size);
    const inputs = web.encoderInputs(photo, bundle);
    assert.ok(inputs.image.data instanceof Uint8Array);
    assert.deepEqual(plain(inputs.image.shape), shape);
    assert.deepEqual(inputs.valid_size ? plain(inputs.valid_size.data) : null, valid_size);
    const wanted = Buffer.from(image, "base64");
    const [rows, columns] = valid_size ?? size;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        // The fourth value and what lies beside the photo are not read.
        const at = (row * shape[2] + column) * shape[3];
        const found = inputs.image.data.subarray(at, at + 3);
        assert.deepEqual(plain(found), plain(wanted.subarray(at, at + 3)), `${order} at ${at}`);
      }
    }
  }
});

test("a photo of another size than the encoder scales is refused", () => {
  const bundle = contract(32, { inputVariant: "uint8", photoSize: [20, 30] });
  const photo = { height: 30, width: 20, data: new Uint8Array(4 * 30 * 20) };
  assert.throws(() => web.encoderInputs(photo, bundle), {
    message: /takes photos of 30 x 20 pixels.*not of 20 x 30/,
  });
});

test("a full mask at the photo's size", { skip }, () => {
  for (const { size, side, masks, mask } of vectors.full) {
    const frame = web.frameOf(size[0], size[1], side);
    const found = web.maskOfFull(Buffer.from(masks, "base64"), frame);
    assert.deepEqual(plain(found), mask);
  }
});

test("the answer of each kind of decoder", () => {
  const frame = web.frameOf(32, 32, 32);
  const prompt = { points: [{ x: 1, y: 1, foreground: true }] };
  const ofLevels = (...levels) => ({
    data: Float32Array.from({ length: 64 * levels.length }, (_, i) => levels[Math.floor(i / 64)]),
  });
  const four = {
    low_res_masks: ofLevels(-1, -2, 3, -4),
    iou_predictions: { data: Float32Array.of(0.9, 0.1, 0.75, 0.2) },
  };
  const found = web.answerOf(four, prompt, frame, contract(32));
  assert.equal(found.predictedIou, 0.75);
  assert.equal(found.lowRes[0], 3);
  assert.equal(found.mask[0], 1);
  const one = {
    low_res_masks: ofLevels(5),
    iou_predictions: { data: Float32Array.of(0.5) },
    masks: { data: new Uint8Array(32 * 32).fill(255, 32 * 31) },
  };
  const chosen = web.answerOf(one, prompt, frame, contract(32, { masks: "full" }));
  assert.equal(chosen.predictedIou, 0.5);
  assert.equal(chosen.lowRes[0], 5);
  assert.deepEqual([chosen.mask[0], chosen.mask[32 * 32 - 1]], [0, 1]);
});
