/**
 * What an app computes around a bundle's encoder and decoder: docs/bundle.md, in TypeScript.
 *
 * It needs nothing else, neither a package nor a browser, and can be copied as it is. Photos are
 * RGBA bytes, row by row, as a canvas gives them; coordinates are pixels of the photo, with (0, 0)
 * the top-left corner of its top-left pixel; tensors are flat arrays, float32 or bytes.
 */

/** The part of a bundle's manifest.json that is needed to feed its files. */
export interface Contract {
  /** S, the side of the model's square frame in pixels. */
  imageSize: number;
  /** Side of the low-res logits. */
  lowResSize: number;
  /** K, the number of point slots of the decoder. */
  slots: number;
  /** Numbers of slots that the decoder takes, ascending; empty where K is the only one. */
  slotCounts: readonly number[];
  /**
   * `pixels`: planes of floats, which the graph normalises; `normalized`: which the caller does;
   * `uint8`: bytes as they lie in memory, which the graph normalises.
   */
  inputVariant: "pixels" | "normalized" | "uint8";
  /** Of a pixel in the variant `uint8`. The fourth value of `rgba` is not read. */
  channelOrder: ChannelOrder;
  /** Height and width of the only photos that the encoder takes, which it scales itself. */
  photoSize: readonly [number, number] | null;
  /** `low_res`: the decoder gives logits of four masks; `full`: the mask that SAM shows, S x S. */
  masks: "low_res" | "full";
  /** Of each channel, R, G, B, on the scale 0 to 255. */
  mean: readonly number[];
  std: readonly number[];
  /** Logits above it are mask. */
  threshold: number;
}

export type ChannelOrder = "rgb" | "bgr" | "rgba";

/** A photo: RGBA bytes, `4 * width * height` of them. Alpha is not read. */
export interface Photo {
  width: number;
  height: number;
  data: Uint8Array | Uint8ClampedArray;
}

/** What is asked of the decoder, in pixels of the photo. */
export interface Prompt {
  /** x, y and whether it lies on the object (true) or on the background. */
  points: readonly { x: number; y: number; foreground: boolean }[];
  /** x1, y1, x2, y2: top-left and bottom-right corner. */
  box?: readonly [number, number, number, number] | null;
  /** Low-res logits of an earlier answer, to refine it. */
  maskInput?: Float32Array | null;
}

/** Where a photo lies in the frame: `height` x `width` pixels at the top left of `side` x `side`. */
export interface Frame {
  side: number;
  height: number;
  width: number;
  photoHeight: number;
  photoWidth: number;
}

export interface Tensor {
  data: Float32Array | Uint8Array;
  shape: readonly number[];
}

/** The major version of the contract that this module follows. */
export const CONTRACT_MAJOR = 1;

export const LABEL = {
  foreground: 1,
  background: 0,
  boxTopLeft: 2,
  boxBottomRight: 3,
  /** SAM's own padding point, given once whenever there is no box. */
  padding: -1,
  /** A slot that no part of the network sees. */
  unused: -2,
} as const;

/** Something that the caller can put right; the message says how. */
export class MobileSAMError extends Error {}

/** Every tensor that this module makes or reads, with its dtypes. */
const TENSORS: ReadonlyMap<string, readonly string[]> = new Map([
  ["image", ["float32", "uint8"]],
  ["valid_size", ["float32"]],
  ["image_embeddings", ["float32"]],
  ["point_coords", ["float32"]],
  ["point_labels", ["float32"]],
  ["mask_input", ["float32"]],
  ["has_mask_input", ["float32"]],
  ["low_res_masks", ["float32"]],
  ["iou_predictions", ["float32"]],
  ["masks", ["uint8"]],
]);

/** Of a pixel of a full mask that is mask. */
const MASK_VALUE = 255;

/**
 * Read what is needed of a parsed manifest.json.
 *
 * @throws MobileSAMError it is none, of another contract, or has other tensors than this module's.
 */
export function contractOf(manifest: unknown): Contract {
  const read = manifest as {
    contract_version?: unknown;
    image_size: number;
    stride: number;
    slots: number;
    slot_counts?: number[];
    input_variant: Contract["inputVariant"];
    channel_order?: ChannelOrder;
    photo_size?: [number, number] | null;
    masks?: Contract["masks"];
    interface?: string;
    preprocessing: { mean: number[]; std: number[] };
    postprocessing: { threshold: number };
    signatures: Record<string, Record<"inputs" | "outputs", { name: string; dtype: string }[]>>;
  };
  const version = read?.contract_version;
  if (typeof version !== "string") {
    throw new MobileSAMError("this is not a bundle's manifest.json: it has no contract_version");
  }
  if (Number.parseInt(version, 10) !== CONTRACT_MAJOR) {
    throw new MobileSAMError(
      `the bundle follows contract ${version}, this page reads contract ${CONTRACT_MAJOR}.x: ` +
        "export the bundle again",
    );
  }
  if ((read.interface ?? "mobilesam") !== "mobilesam") {
    throw new MobileSAMError(
      `the bundle has the interface '${read.interface}': export it with the interface 'mobilesam'`,
    );
  }
  for (const { inputs, outputs } of Object.values(read.signatures)) {
    for (const { name, dtype } of [...inputs, ...outputs]) {
      if (!TENSORS.get(name)?.includes(dtype)) {
        throw new MobileSAMError(
          `the bundle has a tensor '${name}' of ${dtype}, which this page does not know: ` +
            "export it with the tensors of docs/bundle.md",
        );
      }
    }
  }
  return {
    imageSize: read.image_size,
    lowResSize: (4 * read.image_size) / read.stride,
    slots: read.slots,
    slotCounts: read.slot_counts ?? [],
    inputVariant: read.input_variant,
    channelOrder: read.channel_order ?? "rgb",
    photoSize: read.photo_size ?? null,
    masks: read.masks ?? "low_res",
    mean: read.preprocessing.mean,
    std: read.preprocessing.std,
    // That of a full mask is for its bytes, while its logits are what they are elsewhere.
    threshold: read.masks === "full" ? 0 : read.postprocessing.threshold,
  };
}

/**
 * Where a photo of `height` x `width` pixels lies in a frame of `side`: its longest side fills it.
 *
 * @throws MobileSAMError its short side would vanish.
 */
export function frameOf(height: number, width: number, side: number): Frame {
  const factor = side / Math.max(height, width);
  const frame = {
    side,
    height: Math.floor(height * factor + 0.5),
    width: Math.floor(width * factor + 0.5),
    photoHeight: height,
    photoWidth: width,
  };
  if (!(Math.min(frame.height, frame.width, height, width) >= 1)) {
    throw new MobileSAMError(
      `A photo of ${width} x ${height} pixels is too elongated: scaled to a longest side of ` +
        `${side}, its short side must keep at least one pixel.`,
    );
  }
  return frame;
}

/** Fraction bits of Pillow's weights for 8-bit images. */
const WEIGHT_BITS = 22;

/** Weights of one axis: those of output i are `values[i * taps]` on, for inputs from `first[i]`. */
interface Weights {
  first: Int32Array;
  count: Int32Array;
  values: Int32Array;
  taps: number;
}

/** The weights with which Pillow's BILINEAR, a triangle that widens when shrinking, scales an axis. */
function antialiased(from: number, to: number): Weights {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const taps = 2 * Math.ceil(support) + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const values = new Int32Array(to * taps);
  const exact = new Float64Array(taps);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(centre - support + 0.5), 0);
    const high = Math.min(Math.trunc(centre + support + 0.5), from);
    let sum = 0;
    for (let j = low; j < high; j++) {
      const weight = Math.max(0, 1 - Math.abs((j - centre + 0.5) * (1 / support)));
      exact[j - low] = weight;
      sum += weight;
    }
    first[i] = low;
    count[i] = high - low;
    for (let j = 0; j < high - low; j++) {
      values[i * taps + j] = Math.trunc(0.5 + (exact[j] / sum) * 2 ** WEIGHT_BITS);
    }
  }
  return { first, count, values, taps };
}

/** Scale the rows' length of a photo; every value is rounded to a whole level. */
function scaledAcross(photo: Photo, width: number): Photo {
  if (width === photo.width) return photo;
  const { first, count, values, taps } = antialiased(photo.width, width);
  const source = photo.data;
  const data = new Uint8ClampedArray(4 * width * photo.height);
  for (let row = 0; row < photo.height; row++) {
    const start = 4 * row * photo.width;
    for (let x = 0; x < width; x++) {
      let red = 1 << (WEIGHT_BITS - 1);
      let green = red;
      let blue = red;
      for (let k = 0, at = start + 4 * first[x], w = x * taps; k < count[x]; k++, at += 4, w++) {
        red += source[at] * values[w];
        green += source[at + 1] * values[w];
        blue += source[at + 2] * values[w];
      }
      const out = 4 * (row * width + x);
      data[out] = red >> WEIGHT_BITS;
      data[out + 1] = green >> WEIGHT_BITS;
      data[out + 2] = blue >> WEIGHT_BITS;
      data[out + 3] = 255;
    }
  }
  return { width, height: photo.height, data };
}

/** Scale the columns' length of a photo; every value is rounded to a whole level. */
function scaledDown(photo: Photo, height: number): Photo {
  if (height === photo.height) return photo;
  const { first, count, values, taps } = antialiased(photo.height, height);
  const source = photo.data;
  const stride = 4 * photo.width;
  const data = new Uint8ClampedArray(stride * height);
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (WEIGHT_BITS - 1));
    for (let k = 0; k < count[y]; k++) {
      const weight = values[y * taps + k];
      const start = (first[y] + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += source[start + i] * weight;
    }
    const out = y * stride;
    for (let i = 0; i < stride; i++) data[out + i] = sums[i] >> WEIGHT_BITS;
  }
  return { width: photo.width, height, data };
}

/** Scale a photo to the frame as Pillow's BILINEAR does, level for level. */
export function scaled(photo: Photo, frame: Frame): Photo {
  // Pillow takes a tall, narrow photo's columns first where that shrinks them, all others' rows.
  if (photo.height > 2 * photo.width && frame.height < photo.height) {
    return scaledAcross(scaledDown(photo, frame.height), frame.width);
  }
  return scaledDown(scaledAcross(photo, frame.width), frame.height);
}

/**
 * The encoder's inputs: `image`, and `valid_size` [2] unless the caller normalises or the encoder
 * scales the photo. `image` is [1, 3, S, S], or bytes [1, S, S, C] in the variant `uint8`, of the
 * photo's own height and width where the encoder scales it.
 *
 * @throws MobileSAMError the encoder takes photos of another size.
 */
export function encoderInputs(photo: Photo, contract: Contract): Record<string, Tensor> {
  const { inputVariant, channelOrder, photoSize, imageSize: side } = contract;
  if (photoSize !== null) {
    requireSize(photo, photoSize);
    return { image: bytesOf(photo, photoSize, channelOrder) };
  }
  const frame = frameOf(photo.height, photo.width, side);
  const small = scaled(photo, frame);
  if (inputVariant === "normalized") return { image: planesOf(small, contract) };
  return {
    image:
      inputVariant === "uint8"
        ? bytesOf(small, [side, side], channelOrder)
        : planesOf(small, contract),
    valid_size: { data: Float32Array.of(frame.height, frame.width), shape: [2] },
  };
}

/** Planes R, G, B of a scaled photo at the top left of the frame; zeros beside it. */
function planesOf(small: Photo, contract: Contract): Tensor {
  const side = contract.imageSize;
  const normalizes = contract.inputVariant === "normalized";
  const image = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++) {
    const mean = normalizes ? Math.fround(contract.mean[channel]) : 0;
    const std = normalizes ? Math.fround(contract.std[channel]) : 1;
    for (let row = 0; row < small.height; row++) {
      const to = (channel * side + row) * side;
      const from = 4 * row * small.width + channel;
      for (let x = 0; x < small.width; x++) {
        image[to + x] = Math.fround(small.data[from + 4 * x] - mean) / std;
      }
    }
  }
  return { data: image, shape: [1, 3, side, side] };
}

/** Bytes of a photo at the top left of height x width pixels; what lies beside it is not read. */
function bytesOf(
  photo: Photo,
  [height, width]: readonly [number, number],
  order: ChannelOrder,
): Tensor {
  const channels = Array.from(order, (channel) => "rgba".indexOf(channel));
  const data = new Uint8Array(height * width * channels.length);
  for (let row = 0; row < photo.height; row++) {
    let to = row * width * channels.length;
    let from = 4 * row * photo.width;
    for (let x = 0; x < photo.width; x++, from += 4) {
      for (const channel of channels) data[to++] = photo.data[from + channel];
    }
  }
  return { data, shape: [1, height, width, channels.length] };
}

function requireSize(photo: Photo, [height, width]: readonly [number, number]): void {
  if (photo.height !== height || photo.width !== width) {
    throw new MobileSAMError(
      `this encoder takes photos of ${width} x ${height} pixels, which it scales itself, and not ` +
        `of ${photo.width} x ${photo.height}: give it such a photo, or a bundle exported without --resize`,
    );
  }
}

/**
 * The decoder's inputs but for `image_embeddings`.
 *
 * @throws MobileSAMError the prompt is empty, lies outside the photo, or needs more slots than
 *   the decoder has.
 */
export function decoderInputs(
  prompt: Prompt,
  frame: Frame,
  contract: Contract,
): Record<string, Tensor> {
  const maskInput = prompt.maskInput ?? null;
  requirePrompt(prompt, frame);
  const box = prompt.box ? withinPhoto(prompt.box, frame) : null;
  const across = frame.width / frame.photoWidth;
  const down = frame.height / frame.photoHeight;
  const slots: [number, number, number][] = prompt.points.map(({ x, y, foreground }) => [
    Math.fround(x) * across,
    Math.fround(y) * down,
    foreground ? LABEL.foreground : LABEL.background,
  ]);
  if (box !== null) {
    slots.push([box[0] * across, box[1] * down, LABEL.boxTopLeft]);
    slots.push([box[2] * across, box[3] * down, LABEL.boxBottomRight]);
  } else if (slots.length > 0) {
    slots.push([0, 0, LABEL.padding]);
  }
  if (slots.length > contract.slots) {
    throw new MobileSAMError(
      `${prompt.points.length} point(s)${box === null ? "" : " and a box"} need ${slots.length} ` +
        `slots but this decoder has ${contract.slots}: use fewer points`,
    );
  }
  const count = contract.slotCounts.find((n) => n >= slots.length) ?? contract.slots;
  while (slots.length < count) slots.push([0, 0, LABEL.unused]);
  const low = contract.lowResSize;
  return {
    point_coords: {
      data: Float32Array.from(slots.flatMap(([x, y]) => [x, y])),
      shape: [1, count, 2],
    },
    point_labels: { data: Float32Array.from(slots, (slot) => slot[2]), shape: [1, count] },
    mask_input: {
      data: maskInput === null ? new Float32Array(low * low) : Float32Array.from(maskInput),
      shape: [1, 1, low, low],
    },
    has_mask_input: { data: Float32Array.of(maskInput === null ? 0 : 1), shape: [1] },
  };
}

/** A box, float32, without what reaches over the photo's edges. */
function withinPhoto(box: readonly [number, number, number, number], frame: Frame) {
  return box.map((value, i) =>
    Math.min(Math.max(Math.fround(value), 0), i % 2 === 0 ? frame.photoWidth : frame.photoHeight),
  );
}

function requirePrompt(prompt: Prompt, frame: Frame): void {
  const { photoWidth, photoHeight } = frame;
  const box = prompt.box ?? null;
  if (prompt.points.length === 0 && box === null && (prompt.maskInput ?? null) === null) {
    throw new MobileSAMError("the prompt is empty: give a point, a box or an earlier mask");
  }
  for (const { x, y } of prompt.points) {
    if (!(x >= 0 && y >= 0 && x <= photoWidth && y <= photoHeight)) {
      throw new MobileSAMError(
        `the point (${x}, ${y}) lies outside the photo of ${photoWidth} x ${photoHeight} pixels`,
      );
    }
  }
  if (box !== null) {
    const [x1, y1, x2, y2] = box;
    const meets = x1 < photoWidth && y1 < photoHeight && x2 > 0 && y2 > 0;
    if (!(x1 < x2 && y1 < y2 && meets)) {
      throw new MobileSAMError(
        `the box (${box.join(", ")}) has no area on the photo: give x1 < x2 and y1 < y2 within ` +
          `${photoWidth} x ${photoHeight} pixels`,
      );
    }
  }
}

/** Whether it may mean several things: one point alone, which the best of three masks answers. */
export function isAmbiguous(prompt: Prompt): boolean {
  return prompt.points.length === 1 && !prompt.box && !prompt.maskInput;
}

/** Which of the four masks to show, from `iou_predictions` [4]. */
export function chosenMask(iou: ArrayLike<number>, ambiguous: boolean): number {
  if (!ambiguous) return 0;
  let best = 1;
  for (let i = 2; i < iou.length; i++) if (iou[i] > iou[best]) best = i;
  return best;
}

/** A part of a picture, in its pixels; `right` and `bottom` are not part of it. */
export interface Region {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** For each place of a part of the new axis: the two old places it lies between, and the second's share. */
function interpolation(from: number, to: number, start: number, stop: number) {
  const low = new Int32Array(stop - start);
  const high = new Int32Array(stop - start);
  const share = new Float32Array(stop - start);
  const scale = Math.fround(from / to);
  for (let i = start; i < stop; i++) {
    const position = Math.fround(Math.max(0, Math.fround(scale * (i + 0.5)) - 0.5));
    low[i - start] = Math.min(Math.trunc(position), from - 1);
    high[i - start] = Math.min(low[i - start] + 1, from - 1);
    share[i - start] = position - low[i - start];
  }
  return { low, high, share };
}

/** Bilinear, align_corners false: of rows x columns the region, row by row from its top. */
function interpolated(
  values: Float32Array,
  [oldRows, oldColumns]: readonly [number, number],
  [rows, columns]: readonly [number, number],
  { left, top, right, bottom }: Region,
  eachRow: (row: number, values: Float32Array) => void,
): void {
  const down = interpolation(oldRows, rows, top, bottom);
  const across = interpolation(oldColumns, columns, left, right);
  const between = new Float32Array(oldColumns);
  const out = new Float32Array(right - left);
  const end = across.high[out.length - 1];
  for (let row = 0; row < bottom - top; row++) {
    const upper = down.low[row] * oldColumns;
    const lower = down.high[row] * oldColumns;
    const share = down.share[row];
    for (let x = across.low[0]; x <= end; x++) {
      between[x] = (1 - share) * values[upper + x] + share * values[lower + x];
    }
    for (let x = 0; x < out.length; x++) {
      const part = across.share[x];
      out[x] = (1 - part) * between[across.low[x]] + part * between[across.high[x]];
    }
    eachRow(row, out);
  }
}

/** All of a photo. */
function whole({ photoHeight, photoWidth }: Frame): Region {
  return { left: 0, top: 0, right: photoWidth, bottom: photoHeight };
}

/** Low-res logits of one mask, brought to the photo: a region of its H x W, row by row. */
export function upscaledLogits(
  lowRes: Float32Array,
  frame: Frame,
  region: Region = whole(frame),
): Float32Array {
  const width = region.right - region.left;
  const logits = new Float32Array(width * (region.bottom - region.top));
  eachUpscaledRow(lowRes, frame, region, (row, values) => logits.set(values, row * width));
  return logits;
}

/** The mask of one mask's low-res logits: H x W bytes, 1 on the object and 0 elsewhere. */
export function maskOf(lowRes: Float32Array, frame: Frame, threshold = 0): Uint8Array {
  const { photoHeight, photoWidth } = frame;
  const mask = new Uint8Array(photoHeight * photoWidth);
  eachUpscaledRow(lowRes, frame, whole(frame), (row, values) => {
    const start = row * photoWidth;
    for (let x = 0; x < photoWidth; x++) mask[start + x] = values[x] > threshold ? 1 : 0;
  });
  return mask;
}

/**
 * The photo's mask of a full one, `masks` [1, 1, S, S] of bytes: H x W bytes, 1 on the object and
 * 0 elsewhere, each the nearest pixel's.
 */
export function maskOfFull(masks: ArrayLike<number>, frame: Frame): Uint8Array {
  const { side, height, width, photoHeight, photoWidth } = frame;
  const columns = nearest(photoWidth, width);
  const mask = new Uint8Array(photoHeight * photoWidth);
  nearest(photoHeight, height).forEach((row, y) => {
    const start = row * side;
    for (let x = 0; x < photoWidth; x++) {
      mask[y * photoWidth + x] = masks[start + columns[x]] === MASK_VALUE ? 1 : 0;
    }
  });
  return mask;
}

/** The place in the frame that is nearest to each of the photo's along an axis. */
function nearest(photo: number, frame: number): Int32Array {
  return Int32Array.from({ length: photo }, (_, i) => Math.floor(((i + 0.5) * frame) / photo));
}

/** A bundle's answer to a prompt. */
export interface Answer {
  /** H x W bytes, 1 on the object and 0 elsewhere. */
  mask: Uint8Array;
  /** Low-res logits of the mask, for the next prompt's `maskInput`. */
  lowRes: Float32Array;
  predictedIou: number;
}

/** The answer to a prompt, of the decoder's outputs. */
export function answerOf(
  outputs: Readonly<Record<string, Tensor>>,
  prompt: Prompt,
  frame: Frame,
  contract: Contract,
): Answer {
  const full = contract.masks === "full";
  const predicted = outputs.iou_predictions.data;
  const chosen = full ? 0 : chosenMask(predicted, isAmbiguous(prompt));
  const size = contract.lowResSize ** 2;
  const logits = outputs.low_res_masks.data as Float32Array;
  const lowRes = logits.slice(chosen * size, (chosen + 1) * size);
  return {
    mask: full
      ? maskOfFull(outputs.masks.data, frame)
      : maskOf(lowRes, frame, contract.threshold),
    lowRes,
    predictedIou: predicted[chosen],
  };
}

function eachUpscaledRow(
  lowRes: Float32Array,
  frame: Frame,
  region: Region,
  eachRow: (row: number, values: Float32Array) => void,
): void {
  const low = Math.sqrt(lowRes.length);
  const { side, height, width, photoHeight, photoWidth } = frame;
  const rows = interpolation(height, photoHeight, region.top, region.bottom);
  const columns = interpolation(width, photoWidth, region.left, region.right);
  const needed: Region = {
    left: columns.low[0],
    top: rows.low[0],
    right: columns.high[columns.high.length - 1] + 1,
    bottom: rows.high[rows.high.length - 1] + 1,
  };
  const cropped = new Float32Array(height * width);
  interpolated(lowRes, [low, low], [side, side], needed, (row, values) =>
    cropped.set(values, (needed.top + row) * width + needed.left),
  );
  interpolated(cropped, [height, width], [photoHeight, photoWidth], region, eachRow);
}

/** Intersection over union of two masks of one size; 1 where both are empty. */
export function iou(one: Uint8Array, other: Uint8Array): number {
  let both = 0;
  let either = 0;
  for (let i = 0; i < one.length; i++) {
    both += one[i] & other[i];
    either += one[i] | other[i];
  }
  return either === 0 ? 1 : both / either;
}
