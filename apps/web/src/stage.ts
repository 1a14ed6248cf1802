/** The photo with its mask and prompt drawn over it, and what the pointer and the keyboard do on it. */
import { coloured } from "./colours";
import type { Candidate } from "./everything";
import type { Photo } from "./mobilesam";
import type { Box, Point, Step } from "./steps";

export type Mode = "foreground" | "background" | "box";

export interface Handlers {
  point(point: Point): void;
  box(box: Box): void;
  mode(): Mode;
  /** Tells a screen reader where the crosshair is. */
  moved(x: number, y: number): void;
}

/** A press that moves farther, in CSS pixels, drags a box. */
const DRAG = 6;
const LONG_PRESS_MS = 500;
/** Of the crosshair for one press of an arrow key, in CSS pixels; with Shift ten times as far. */
const STEP = 4;
const MASK: readonly [number, number, number, number] = [46, 144, 250, 120];

export class Stage {
  private photo: Photo | null = null;
  private mask: Uint8Array | null = null;
  private everything: readonly Candidate[] | null = null;
  /** Of everything, as the screen last saw it: the pointer's moves draw it again. */
  private overlay: ImageData | null = null;
  private step: Step | null = null;
  private press: { id: number; from: DOMPoint; to: DOMPoint; timer: number } | null = null;
  private cursor: { x: number; y: number } | null = null;
  private corner: { x: number; y: number } | null = null;

  constructor(
    private readonly image: HTMLImageElement,
    private readonly canvas: HTMLCanvasElement,
    private readonly handlers: Handlers,
  ) {
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.release());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(image);
  }

  show(photo: Photo, address: string): void {
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.src = address;
    const ratio = String(photo.width / photo.height);
    this.image.parentElement!.style.setProperty("--ratio", ratio);
    this.photo = photo;
    this.cursor = { x: photo.width / 2, y: photo.height / 2 };
    this.corner = null;
    this.update(null, null);
  }

  update(step: Step | null, mask: Uint8Array | null): void {
    this.step = step;
    this.mask = mask;
    this.everything = null;
    this.draw();
  }

  /** Show all masks of the photo in place of a prompt's. */
  showEverything(masks: readonly Candidate[]): void {
    this.update(null, null);
    this.everything = masks;
    this.overlay = null;
    this.draw();
  }

  /** All masks that are shown, in colours, as a picture of a size. */
  everythingAt(width: number, height: number): ImageData {
    const photo = this.photo!;
    return coloured(this.everything ?? [], [photo.height, photo.width], width, height);
  }

  /** A place on the screen, in pixels of the photo and within it. */
  private place({ clientX, clientY }: { clientX: number; clientY: number }): DOMPoint {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const photo = this.photo!;
    return new DOMPoint(
      Math.min(Math.max(((clientX - left) / width) * photo.width, 0), photo.width),
      Math.min(Math.max(((clientY - top) / height) * photo.height, 0), photo.height),
    );
  }

  /** Pixels of the photo to one CSS pixel. */
  private get scale(): number {
    return this.photo!.width / Math.max(1, this.canvas.clientWidth);
  }

  private down(event: PointerEvent): void {
    if (!this.photo || this.press) return;
    if (event.button === 2) {
      event.preventDefault();
      this.addPoint(this.place(event), false);
      return;
    }
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    const from = this.place(event);
    const timer = window.setTimeout(() => {
      if (!this.press || this.dragged()) return;
      this.release();
      this.addPoint(from, false);
    }, LONG_PRESS_MS);
    this.press = { id: event.pointerId, from, to: from, timer };
  }

  private move(event: PointerEvent): void {
    if (this.press?.id !== event.pointerId) return;
    this.press.to = this.place(event);
    if (this.dragged()) clearTimeout(this.press.timer);
    this.draw();
  }

  private up(event: PointerEvent): void {
    if (this.press?.id !== event.pointerId) return;
    const { from } = this.press;
    const to = this.place(event);
    const dragged = this.dragged();
    this.release();
    if (dragged) this.addBox(from, to);
    else if (this.handlers.mode() !== "box") {
      this.addPoint(to, this.handlers.mode() === "foreground");
    }
  }

  private dragged(): boolean {
    const { from, to } = this.press!;
    return Math.hypot(to.x - from.x, to.y - from.y) > DRAG * this.scale;
  }

  private release(): void {
    if (this.press) clearTimeout(this.press.timer);
    this.press = null;
    this.draw();
  }

  private addPoint({ x, y }: { x: number; y: number }, foreground: boolean): void {
    this.cursor = { x, y };
    this.handlers.point({ x, y, foreground });
  }

  private addBox(from: { x: number; y: number }, to: { x: number; y: number }): void {
    const [x1, x2] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
    const [y1, y2] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
    if (x2 > x1 && y2 > y1) this.handlers.box([x1, y1, x2, y2]);
  }

  private key(event: KeyboardEvent): void {
    const { cursor, photo } = this;
    if (!cursor || !photo || event.ctrlKey || event.metaKey || event.altKey) return;
    const far = STEP * this.scale * (event.shiftKey ? 10 : 1);
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-far, 0],
      ArrowRight: [far, 0],
      ArrowUp: [0, -far],
      ArrowDown: [0, far],
    };
    const move = moves[event.key];
    if (move) {
      cursor.x = Math.min(Math.max(cursor.x + move[0], 0), photo.width);
      cursor.y = Math.min(Math.max(cursor.y + move[1], 0), photo.height);
      this.handlers.moved(cursor.x, cursor.y);
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") {
      const mode = this.handlers.mode();
      if (mode === "box") this.keyCorner();
      else this.addPoint(cursor, mode === "foreground");
    } else if (event.key.toLowerCase() === "b") {
      this.addPoint(cursor, false);
    } else if (event.key.toLowerCase() === "x") {
      this.keyCorner();
    } else if (event.key === "Escape" && this.corner) {
      this.corner = null;
      this.draw();
    } else return;
    event.preventDefault();
  }

  /** Set the box's first corner, or with the second make the box. */
  private keyCorner(): void {
    const corner = this.corner;
    this.corner = corner ? null : { ...this.cursor! };
    if (corner) this.addBox(corner, this.cursor!);
    this.draw();
  }

  private draw(): void {
    const { canvas, photo } = this;
    if (!photo) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const context = canvas.getContext("2d")!;
    if (this.mask) this.drawMask(context, photo, this.mask);
    if (this.everything) this.drawEverything(context);
    context.scale(canvas.width / photo.width, canvas.height / photo.height);
    const unit = this.scale;
    if (this.step?.box) outline(context, this.step.box, unit, []);
    for (const point of this.step?.points ?? []) dot(context, point, unit);
    if (this.press && this.dragged()) {
      const { from, to } = this.press;
      outline(context, [from.x, from.y, to.x, to.y], unit, [5, 4]);
    }
    if (this.corner && this.cursor) {
      outline(context, [this.corner.x, this.corner.y, this.cursor.x, this.cursor.y], unit, [5, 4]);
    }
    if (this.cursor && canvas.matches(":focus-visible")) crosshair(context, this.cursor, unit);
  }

  private drawEverything(context: CanvasRenderingContext2D): void {
    const { width, height } = this.canvas;
    if (this.overlay?.width !== width || this.overlay.height !== height) {
      this.overlay = this.everythingAt(width, height);
    }
    context.putImageData(this.overlay, 0, 0);
  }

  /** The mask as the screen's pixels see it, with a brighter outline. */
  private drawMask(context: CanvasRenderingContext2D, photo: Photo, mask: Uint8Array): void {
    const { width, height } = this.canvas;
    const image = context.createImageData(width, height);
    const columns = Int32Array.from({ length: width }, (_, x) =>
      Math.min(photo.width - 1, Math.floor(((x + 0.5) * photo.width) / width)),
    );
    const seen = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const row = Math.min(photo.height - 1, Math.floor(((y + 0.5) * photo.height) / height));
      for (let x = 0; x < width; x++) seen[y * width + x] = mask[row * photo.width + columns[x]];
    }
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (!seen[i]) continue;
        const inside =
          (x < 2 || seen[i - 2]) &&
          (x >= width - 2 || seen[i + 2]) &&
          (y < 2 || seen[i - 2 * width]) &&
          (y >= height - 2 || seen[i + 2 * width]);
        image.data.set(inside ? MASK : [255, 255, 255, 235], 4 * i);
      }
    }
    context.putImageData(image, 0, 0);
  }
}

function outline(context: CanvasRenderingContext2D, box: Box, unit: number, dash: number[]): void {
  const [x1, y1, x2, y2] = box;
  for (const [width, colour] of [
    [4, "rgb(0 0 0 / 55%)"],
    [2, "#ffd60a"],
  ] as const) {
    context.lineWidth = width * unit;
    context.strokeStyle = colour;
    context.setLineDash(dash.map((length) => length * unit));
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  context.setLineDash([]);
}

/** A plus on green or a minus on red: not told apart by colour alone. */
function dot(context: CanvasRenderingContext2D, { x, y, foreground }: Point, unit: number): void {
  context.beginPath();
  context.arc(x, y, 8 * unit, 0, 2 * Math.PI);
  context.fillStyle = foreground ? "#15803d" : "#c81e1e";
  context.fill();
  context.lineWidth = 2 * unit;
  context.strokeStyle = "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - 4 * unit, y);
  context.lineTo(x + 4 * unit, y);
  if (foreground) {
    context.moveTo(x, y - 4 * unit);
    context.lineTo(x, y + 4 * unit);
  }
  context.stroke();
}

function crosshair(context: CanvasRenderingContext2D, at: { x: number; y: number }, unit: number) {
  for (const [width, colour] of [
    [4, "rgb(0 0 0 / 60%)"],
    [1.5, "#fff"],
  ] as const) {
    context.beginPath();
    context.lineWidth = width * unit;
    context.strokeStyle = colour;
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      context.moveTo(at.x + dx * 5 * unit, at.y + dy * 5 * unit);
      context.lineTo(at.x + dx * 16 * unit, at.y + dy * 16 * unit);
    }
    context.stroke();
  }
}
