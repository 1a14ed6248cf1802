/** The panel of "segment everything": its run over a grid of points, its limits, its files. */
import type { Client } from "./client";
import { SETTINGS, STABILITY_SCORE_OFFSET, gridOf, keptOf, type Candidate } from "./everything";
import type { Photo } from "./mobilesam";
import { pictureFile, save } from "./photo";
import type { Stage } from "./stage";

/** Of the demo weights, which find little that meets SAM's own limits. */
const DEMO_LIMITS = { predIouThresh: 0.4, stabilityScoreThresh: 0.7 };

/** Masks less likely or less stable than this are not kept for the sliders. */
export const LEAST = 0.3;

function part<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

export interface Report {
  /** What to say, to people and screen readers. */
  say(sentence: string, state: "busy" | "ready"): void;
  /** Share of the points that are done with. */
  progress(share: number): void;
}

interface Run {
  photo: Photo;
  client: Client;
  pointsPerSide: number;
  candidates: Candidate[];
  asked: number;
  seconds: number;
  running: boolean;
}

export class EverythingPanel {
  private run: Run | null = null;
  /** Whether the limits are the user's own. */
  private moved = false;
  private readonly start = part<HTMLButtonElement>("everything");
  private readonly stopButton = part<HTMLButtonElement>("stop");
  private readonly points = part<HTMLSelectElement>("points");
  private readonly limits = {
    predIouThresh: part<HTMLInputElement>("pred-iou"),
    stabilityScoreThresh: part<HTMLInputElement>("stability"),
  };

  constructor(
    private readonly stage: Stage,
    private readonly report: Report,
  ) {
    for (const input of Object.values(this.limits)) {
      input.min = String(LEAST);
      input.addEventListener("input", () => {
        this.moved = true;
        this.show();
        if (this.run && !this.running) this.report.say(this.summary(), "ready");
      });
    }
    this.setLimits(SETTINGS);
    this.stopButton.addEventListener("click", () => this.stop());
    part("save-picture").addEventListener("click", () => this.savePicture());
    part("save-json").addEventListener("click", () => this.saveJson());
    this.refresh();
  }

  /** Whether masks of everything are on the photo, or are on their way. */
  get shown(): boolean {
    return this.run !== null;
  }

  get running(): boolean {
    return this.run?.running ?? false;
  }

  /** Let the button be pressed only where there is a photo. */
  enable(possible: boolean): void {
    this.start.disabled = !possible;
  }

  /** Ask the bundle about every point of a photo that it has encoded. */
  async over(photo: Photo, client: Client, current: () => boolean): Promise<void> {
    const side = Number(this.points.value);
    const run: Run = {
      ...{ photo, client, pointsPerSide: side },
      ...{ candidates: [], asked: 0, seconds: 0, running: true },
    };
    this.run = run;
    if (!this.moved) this.setLimits(client.entry.weights === "demo" ? DEMO_LIMITS : SETTINGS);
    this.show();
    const begun = performance.now();
    const points = gridOf(side, photo.width, photo.height);
    try {
      for (const point of points) {
        if (!run.running) break;
        if (run.asked % side === 0) this.tell(points.length);
        run.candidates.push(...(await client.candidates(point, LEAST)));
        if (!current() || this.run !== run) return;
        run.asked++;
        this.report.progress(run.asked / points.length);
        if (run.asked % side === 0) this.show();
      }
    } finally {
      run.running = false;
      this.refresh();
    }
    run.seconds = Math.round((performance.now() - begun) / 1000);
    this.show();
    this.report.say(this.summary(), "ready");
  }

  /** Ask about no more points; what was found stays. */
  stop(): void {
    if (this.run) this.run.running = false;
  }

  /** Forget the masks. */
  close(): void {
    this.stop();
    this.run = null;
    this.refresh();
  }

  private get kept(): Candidate[] {
    const { predIouThresh, stabilityScoreThresh } = this.limits;
    return keptOf(this.run?.candidates ?? [], {
      ...SETTINGS,
      predIouThresh: Number(predIouThresh.value),
      stabilityScoreThresh: Number(stabilityScoreThresh.value),
    });
  }

  private setLimits(limits: Pick<typeof SETTINGS, keyof typeof this.limits>): void {
    this.limits.predIouThresh.value = String(limits.predIouThresh);
    this.limits.stabilityScoreThresh.value = String(limits.stabilityScoreThresh);
  }

  private show(): void {
    if (this.run) this.stage.showEverything(this.kept);
    this.refresh();
  }

  private tell(count: number): void {
    this.report.say(`Point ${this.run!.asked} of ${count}: ${masks(this.kept.length)}`, "busy");
  }

  private summary(): string {
    const { asked, candidates, pointsPerSide, seconds } = this.run!;
    const count = pointsPerSide ** 2;
    const end = asked < count ? `Stopped after ${asked} of ${count} points` : `${count} points asked`;
    const kept = this.kept.length;
    const hint = kept < candidates.length / 20 ? " Lower limits show more." : "";
    return `${masks(kept)}. ${end} in ${seconds} s.${hint}`;
  }

  private refresh(): void {
    const { run } = this;
    this.start.hidden = this.running;
    this.stopButton.hidden = !this.running;
    this.points.disabled = this.running;
    part("found").hidden = run === null;
    const kept = this.kept.length;
    part("kept").textContent = run ? `${kept} of ${run.candidates.length} found` : "";
    for (const input of Object.values(this.limits)) {
      part(`${input.id}-value`).textContent = Number(input.value).toFixed(2);
      input.setAttribute("aria-valuetext", `${input.value}, ${masks(kept)}`);
    }
    for (const id of ["save-picture", "save-json"]) {
      part<HTMLButtonElement>(id).disabled = kept === 0 || this.running;
    }
  }

  private async savePicture(): Promise<void> {
    const { photo } = this.run!;
    const overlay = this.stage.everythingAt(photo.width, photo.height);
    save(await pictureFile(photo, overlay), "everything.png");
  }

  /** The file that `mobilesam everything --output-mode uncompressed_rle` writes. */
  private saveJson(): void {
    const { photo, client, pointsPerSide } = this.run!;
    const size = [photo.height, photo.width];
    const whole = [0, 0, photo.width, photo.height];
    const described = {
      size,
      engine: `${client.entry.name} on ${client.opened!.engine}`,
      parameters: {
        points_per_side: pointsPerSide,
        pred_iou_thresh: Number(this.limits.predIouThresh.value),
        stability_score_thresh: Number(this.limits.stabilityScoreThresh.value),
        stability_score_offset: STABILITY_SCORE_OFFSET,
        box_nms_thresh: SETTINGS.boxNmsThresh,
        output_mode: "uncompressed_rle",
      },
      masks: this.kept.map(({ predictedIou, stabilityScore, box: [x1, y1, x2, y2], ...rest }) => ({
        segmentation: { size, counts: rest.counts },
        area: rest.area,
        bbox: [x1, y1, x2 - x1, y2 - y1],
        predicted_iou: predictedIou,
        point_coords: [[rest.point.x, rest.point.y]],
        stability_score: stabilityScore,
        crop_box: whole,
      })),
    };
    save(new Blob([JSON.stringify(described)], { type: "application/json" }), "masks.json");
  }
}

function masks(count: number): string {
  return count === 1 ? "1 mask" : `${count} masks`;
}
