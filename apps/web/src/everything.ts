/**
 * Segment everything: points all over a photo, and of their masks the good ones that differ.
 *
 * What SAM's automatic mask generation does with the whole photo, as `mobilesam everything` does it;
 * without crops of it. Coordinates are pixels of the photo.
 */
import { upscaledLogits, type Frame, type Region, type Tensor } from "./mobilesam";

export interface Settings {
  /** A mask is dropped unless its predicted IoU is greater. */
  predIouThresh: number;
  /** A mask is dropped if its stability score is less. */
  stabilityScoreThresh: number;
  /** Of two masks whose boxes have a greater IoU, that of the lower predicted IoU is dropped. */
  boxNmsThresh: number;
}

/** SAM's own. */
export const SETTINGS: Settings = {
  predIouThresh: 0.88,
  stabilityScoreThresh: 0.95,
  boxNmsThresh: 0.7,
};

/** The score is the IoU of the masks at thresholds that are this much higher and lower. */
export const STABILITY_SCORE_OFFSET = 1;

/** A mask that the decoder offers for a point. */
export interface Candidate {
  predictedIou: number;
  stabilityScore: number;
  /** x1, y1, x2, y2 of its outermost pixels. */
  box: readonly [number, number, number, number];
  point: { x: number; y: number };
  /** In pixels. */
  area: number;
  /** Lengths of its runs, column by column; the first is not mask and may be 0. */
  counts: readonly number[];
}

/** The centres of `side` x `side` equal cells of a photo, row by row. */
export function gridOf(side: number, width: number, height: number): { x: number; y: number }[] {
  const centre = (i: number) => (i + 0.5) / side;
  return Array.from({ length: side * side }, (_, i) => ({
    x: centre(i % side) * width,
    y: centre(Math.floor(i / side)) * height,
  }));
}

/**
 * The masks that a decoder offers for a lone point, of a predicted IoU and a stability score that
 * are greater than `least`: of four masks the three alternatives, or the one that the file chose.
 */
export function candidatesOf(
  outputs: Readonly<Record<string, Tensor>>,
  point: { x: number; y: number },
  frame: Frame,
  threshold = 0,
  least = 0,
): Candidate[] {
  const predicted = outputs.iou_predictions.data;
  const logits = outputs.low_res_masks.data as Float32Array;
  const size = logits.length / predicted.length;
  const found: Candidate[] = [];
  for (let i = predicted.length > 1 ? 1 : 0; i < predicted.length; i++) {
    if (!(predicted[i] > least)) continue;
    const lowRes = logits.subarray(i * size, (i + 1) * size);
    const candidate = candidateOf(lowRes, predicted[i], point, frame, threshold);
    if (candidate !== null && candidate.stabilityScore > least) found.push(candidate);
  }
  return found;
}

/** The mask of low-res logits, judged at the photo's size; null for an empty one. */
function candidateOf(
  lowRes: Float32Array,
  predictedIou: number,
  point: { x: number; y: number },
  frame: Frame,
  threshold: number,
): Candidate | null {
  const region = reached(lowRes, frame, threshold - STABILITY_SCORE_OFFSET);
  if (region === null) return null;
  const logits = upscaledLogits(lowRes, frame, region);
  let inner = 0;
  let outer = 0;
  for (const value of logits) {
    if (value > threshold + STABILITY_SCORE_OFFSET) inner++;
    if (value > threshold - STABILITY_SCORE_OFFSET) outer++;
  }
  const mask = runsOf(logits, region, frame, threshold);
  if (mask === null) return null;
  return { predictedIou, stabilityScore: inner / outer, point, ...mask };
}

/** The part of the photo where logits can be above a threshold; null where they cannot. */
function reached(lowRes: Float32Array, frame: Frame, threshold: number): Region | null {
  const low = Math.sqrt(lowRes.length);
  let [left, top, right, bottom] = [low, low, -1, -1];
  for (let i = 0; i < lowRes.length; i++) {
    if (!(lowRes[i] > threshold)) continue;
    const [row, column] = [Math.floor(i / low), i % low];
    left = Math.min(left, column);
    right = Math.max(right, column);
    top = Math.min(top, row);
    bottom = row;
  }
  if (right < 0) return null;
  const across = span(left, right, frame.side / low, frame.width, frame.photoWidth);
  const down = span(top, bottom, frame.side / low, frame.height, frame.photoHeight);
  if (!(across[0] < across[1] && down[0] < down[1])) return null;
  return { left: across[0], right: across[1], top: down[0], bottom: down[1] };
}

/** The pixels of a photo's axis, with some to spare, that logits from `first` to `last` are part of. */
function span(first: number, last: number, stride: number, frame: number, photo: number) {
  const scale = photo / frame;
  const start = Math.floor(((first - 0.5) * stride - 2) * scale - 1);
  const stop = Math.ceil(((last + 1.5) * stride + 2) * scale + 1);
  return [Math.max(0, start), Math.min(photo, stop)] as const;
}

/** Run lengths, box and area of a region's mask; null for an empty one. */
function runsOf(logits: Float32Array, region: Region, frame: Frame, threshold: number) {
  const { left, top, right, bottom } = region;
  const { photoHeight: height, photoWidth } = frame;
  const width = right - left;
  const counts: number[] = [];
  let [x1, y1, x2, y2, area] = [Infinity, Infinity, -1, -1, 0];
  let last = 0;
  let inside = false;
  const change = (at: number) => {
    counts.push(at - last);
    if (inside) area += at - last;
    last = at;
    inside = !inside;
  };
  for (let x = left; x < right; x++) {
    for (let y = top, i = x - left; y < bottom; y++, i += width) {
      const isMask = logits[i] > threshold;
      if (isMask) {
        x1 = Math.min(x1, x);
        x2 = x;
        y1 = Math.min(y1, y);
        y2 = Math.max(y2, y);
      }
      if (isMask !== inside) change(x * height + y);
    }
    // A run goes on in the next column only where the region reaches from edge to edge.
    const goesOn = top === 0 && bottom === height && x + 1 < right;
    if (inside && !goesOn) change(x * height + bottom);
  }
  const end = height * photoWidth;
  if (last < end) counts.push(end - last);
  if (area === 0) return null;
  return { counts, area, box: [x1, y1, x2, y2] as const };
}

/** The candidates that are good enough and differ, those of the highest predicted IoU first. */
export function keptOf(candidates: readonly Candidate[], settings: Settings = SETTINGS): Candidate[] {
  const left = candidates
    .filter(({ predictedIou }) => predictedIou > settings.predIouThresh)
    .filter(({ stabilityScore }) => stabilityScore >= settings.stabilityScoreThresh)
    .sort((one, other) => other.predictedIou - one.predictedIou);
  const kept: Candidate[] = [];
  for (const { box, ...rest } of left) {
    if (!kept.some((better) => isNear(better.box, box, settings.boxNmsThresh))) {
      kept.push({ box, ...rest });
    }
  }
  return kept;
}

type Box = Candidate["box"];

/** Whether two boxes have a greater IoU than a threshold. */
function isNear(one: Box, other: Box, threshold: number): boolean {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const both = Math.max(0, width) * Math.max(0, height);
  // As a product, so that two boxes without area do not divide zero by zero.
  return both > threshold * (areaOf(one) + areaOf(other) - both);
}

function areaOf([x1, y1, x2, y2]: Box): number {
  return (x2 - x1) * (y2 - y1);
}

/**
 * A mask as a picture of another size sees it, each pixel the nearest of the photo's: rows x columns
 * bytes, 1 in the mask.
 */
export function seen(
  { counts }: Candidate,
  [height, width]: readonly [number, number],
  [rows, columns]: readonly [number, number],
): Uint8Array {
  const mask = new Uint8Array(rows * columns);
  const row = (y: number) => Math.ceil((y * rows) / height - 0.5);
  const column = (x: number) => Math.ceil((x * columns) / width - 0.5);
  let at = 0;
  counts.forEach((length, i) => {
    for (let start = at, end = at + length; i % 2 === 1 && start < end; ) {
      const x = Math.floor(start / height);
      const stop = Math.min(end, (x + 1) * height);
      const [from, to] = [row(start - x * height), row(stop - x * height)];
      for (let y = from; y < to; y++) {
        mask.fill(1, y * columns + column(x), y * columns + column(x + 1));
      }
      start = stop;
    }
    at += length;
  });
  return mask;
}
