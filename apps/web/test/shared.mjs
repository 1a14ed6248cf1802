/** What the tests share: the module under test, a contract, photos. */
const module = process.env.MOBILESAM_MODULE ?? new URL("../dist/mobilesam.js", import.meta.url).href;

/** The built src/mobilesam.ts. */
export const web = await import(module);

/** RGB bytes in base64 to a photo. */
export function photoOf(pixels, [height, width]) {
  const rgb = Buffer.from(pixels, "base64");
  const data = new Uint8ClampedArray(4 * height * width).fill(255);
  for (let i = 0; i < height * width; i++) data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  return { height, width, data };
}

/** A contract of plain planes and four masks, but for some fields. */
export function contract(side, more = {}) {
  return {
    imageSize: side,
    lowResSize: side / 4,
    slots: 8,
    slotCounts: [],
    inputVariant: "pixels",
    channelOrder: "rgb",
    photoSize: null,
    masks: "low_res",
    mean: [123.675, 116.28, 103.53],
    std: [58.395, 57.12, 57.375],
    threshold: 0,
    ...more,
  };
}

export function plain(values) {
  return Array.from(values);
}
