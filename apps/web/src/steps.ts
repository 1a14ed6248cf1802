/** What was clicked, step by step, so that each can be taken back. */

export interface Point {
  x: number;
  y: number;
  foreground: boolean;
}

export type Box = readonly [number, number, number, number];

/** The prompt after one click, in pixels of the photo. Compared by identity. */
export interface Step {
  readonly points: readonly Point[];
  readonly box: Box | null;
  /** Whether the mask of the step before is given to the decoder. */
  readonly refines: boolean;
  readonly previous: Step | null;
}

export function withPoint(step: Step | null, point: Point, refines: boolean): Step {
  return {
    points: [...(step?.points ?? []), point],
    box: step?.box ?? null,
    refines: refines && step !== null,
    previous: step,
  };
}

/** A box replaces the one before. */
export function withBox(step: Step | null, box: Box, refines: boolean): Step {
  return {
    points: step?.points ?? [],
    box,
    refines: refines && step !== null,
    previous: step,
  };
}
