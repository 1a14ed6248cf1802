/** src/everything.ts against the masks that the library's own generator finds in the same logits. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { plain, web } from "./shared.mjs";

const module =
  process.env.MOBILESAM_EVERYTHING ?? new URL("../dist/everything.js", import.meta.url).href;
const everything = await import(module);

const file = process.env.MOBILESAM_WEB_VECTORS;
const skip = file === undefined && "MOBILESAM_WEB_VECTORS names no file: run `pytest tests/web`";
const vectors = skip ? {} : JSON.parse(readFileSync(file, "utf-8"));

function floats(text) {
  const bytes = Buffer.from(text, "base64");
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

/** Lengths of runs to a mask, column by column to row by row. */
function maskOf(counts, [height, width]) {
  const mask = new Uint8Array(height * width);
  let at = 0;
  counts.forEach((length, i) => {
    for (const end = at + length; at < end; at++) {
      if (i % 2) mask[(at % height) * width + Math.floor(at / height)] = 1;
    }
  });
  return mask;
}

test("the masks of a photo", { skip }, () => {
  for (const { size, side, points_per_side, parameters, answers, records } of vectors.everything) {
    const [height, width] = size;
    const frame = web.frameOf(height, width, side);
    const points = everything.gridOf(points_per_side, width, height);
    assert.equal(points.length, answers.length);
    const candidates = answers.flatMap(({ iou, low_res }, i) =>
      everything.candidatesOf(
        {
          iou_predictions: { data: Float32Array.from(iou) },
          low_res_masks: { data: floats(low_res) },
        },
        points[i],
        frame,
      ),
    );
    const kept = everything.keptOf(candidates, {
      predIouThresh: parameters.pred_iou_thresh,
      stabilityScoreThresh: parameters.stability_score_thresh,
      boxNmsThresh: parameters.box_nms_thresh,
    });
    assert.equal(kept.length, records.length);
    kept.forEach((found, i) => {
      const record = records[i];
      assert.ok(Math.abs(found.predictedIou - record.predicted_iou) < 1e-6);
      assert.ok(Math.abs(found.stabilityScore - record.stability_score) < 1e-6);
      const [x1, y1, x2, y2] = found.box;
      assert.deepEqual([x1, y1, x2 - x1, y2 - y1], record.bbox);
      assert.equal(found.area, record.area);
      assert.deepEqual(plain(found.counts), record.segmentation.counts);
      assert.ok(Math.abs(found.point.x - record.point_coords[0][0]) < 1e-9);
      assert.ok(Math.abs(found.point.y - record.point_coords[0][1]) < 1e-9);
      const mask = maskOf(found.counts, size);
      assert.deepEqual(everything.seen(found, size, size), mask);
    });
  }
});

test("a mask on a screen of another size", () => {
  const [height, width] = [7, 9];
  const counts = [8, 12, 1, 20, 3, 19];
  const mask = maskOf(counts, [height, width]);
  for (const [rows, columns] of [[3, 4], [20, 31], [7, 9]]) {
    const found = everything.seen({ counts }, [height, width], [rows, columns]);
    found.forEach((value, i) => {
      const y = Math.floor(((Math.floor(i / columns) + 0.5) * height) / rows);
      const x = Math.floor((((i % columns) + 0.5) * width) / columns);
      assert.equal(value, mask[y * width + x]);
    });
  }
});

test("an empty mask and one that is unlikely are no candidates", () => {
  const frame = web.frameOf(32, 32, 32);
  const levels = [9, -9, 9, 9].flatMap((level) => Array(64).fill(level));
  const outputs = {
    iou_predictions: { data: Float32Array.of(1, 1, 0.2, 0.9) },
    low_res_masks: { data: Float32Array.from(levels) },
  };
  const found = everything.candidatesOf(outputs, { x: 1, y: 1 }, frame, 0, 0.3);
  assert.deepEqual(
    found.map(({ area, stabilityScore, counts }) => [area, stabilityScore, plain(counts)]),
    [[1024, 1, [0, 1024]]],
  );
});
