/** Photos: decoded, turned upright, and as pixels. */
import { MobileSAMError, type Photo } from "./mobilesam";

/** Browsers on phones draw no larger canvas; what is larger is scaled down to it first. */
const MOST_PIXELS = 16_777_216;

/**
 * The pixels of a photo file, upright, as they are stored: without conversion between colour
 * profiles, which the models' training data went without.
 *
 * @throws MobileSAMError the browser cannot read it.
 */
export async function pixelsOf(file: Blob): Promise<Photo> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new MobileSAMError(
      "this browser cannot read the file as a photo: give a JPEG, PNG or WebP file",
    );
  }
  const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const width = Math.floor(bitmap.width * factor);
  const height = Math.floor(bitmap.height * factor);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new MobileSAMError("the photo is too large for this browser's memory");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  canvas.width = 0;
  return { width, height, data };
}

/** A mask as a PNG file of the photo's size: white on the object, black elsewhere. */
export function maskFile(mask: Uint8Array, { width, height }: Photo): Promise<Blob> {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = mask[i] ? 0xffffffff : 0xff000000;
  return pngOf(image);
}

/** A photo with a picture of its size over it, as a PNG file. */
export function pictureFile(photo: Photo, overlay: ImageData): Promise<Blob> {
  const image = new ImageData(photo.width, photo.height);
  for (let i = 0; i < image.data.length; i += 4) {
    const share = overlay.data[i + 3] / 255;
    for (let channel = i; channel < i + 3; channel++) {
      const below = photo.data[channel];
      image.data[channel] = below + share * (overlay.data[channel] - below);
    }
    image.data[i + 3] = 255;
  }
  return pngOf(image);
}

function pngOf(image: ImageData): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no PNG was made")))),
  );
}

/** Save a file as the browser's downloads are saved. */
export function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
