/** All masks of a photo in one picture to lie over it. */
import { seen, type Candidate } from "./everything";

/** How opaque a mask is. Its edge is wholly so. */
const STRENGTH = 0.45;
/** Turns of the colour circle from one mask to the next: neighbours in the list look different. */
const GOLDEN = 0.618034;

/**
 * Every mask tinted in a colour of its own and outlined; smaller ones over larger ones.
 *
 * @param size height and width of the photo.
 */
export function coloured(
  masks: readonly Candidate[],
  size: readonly [number, number],
  width: number,
  height: number,
): ImageData {
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const largestFirst = [...masks].sort((one, other) => other.area - one.area);
  largestFirst.forEach((candidate, index) => {
    const mask = seen(candidate, size, [height, width]);
    const colour = bgr((index * GOLDEN) % 1);
    const inner = colour | (Math.round(255 * STRENGTH) << 24);
    const edge = colour | (255 << 24);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (!mask[i]) continue;
        const surrounded =
          x > 0 && mask[i - 1] && x < width - 1 && mask[i + 1] &&
          y > 0 && mask[i - width] && y < height - 1 && mask[i + width];
        pixels[i] = surrounded ? inner : edge;
      }
    }
  });
  return picture;
}

/** A hue, 0 to 1, at saturation 0.75 and full value, as 0xBBGGRR. */
function bgr(hue: number): number {
  const channel = (shift: number) => {
    const place = (shift + hue * 6) % 6;
    const share = Math.max(0, Math.min(place, 4 - place, 1));
    return Math.round(255 * (1 - 0.75 * share));
  };
  return channel(5) | (channel(3) << 8) | (channel(1) << 16);
}
