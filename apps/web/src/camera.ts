/** A photo from the camera: by the phone's own camera app, elsewhere in a dialog of the page. */
import { MobileSAMError } from "./mobilesam";

/**
 * @param input a file input that asks a phone for its camera; its change event brings the photo.
 * @returns the photo, or null where the user cancelled or the input brings it.
 * @throws MobileSAMError there is no camera, or it may not be used.
 */
export async function openCamera(input: HTMLInputElement): Promise<Blob | null> {
  if (window.matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) {
    input.click();
    return null;
  }
  const dialog = document.getElementById("shutter") as HTMLDialogElement;
  const video = document.getElementById("video") as HTMLVideoElement;
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
  } catch {
    throw new MobileSAMError("the camera cannot be used: allow it in the browser, or choose a photo");
  }
  video.srcObject = stream;
  await video.play();
  dialog.showModal();
  try {
    const shot = await new Promise<boolean>((resolve) => {
      document.getElementById("shoot")!.onclick = () => resolve(true);
      document.getElementById("cancel")!.onclick = () => resolve(false);
      dialog.oncancel = () => resolve(false);
    });
    return shot ? await pictureOf(video) : null;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    dialog.close();
  }
}

async function pictureOf(video: HTMLVideoElement): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")!.drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve));
}
