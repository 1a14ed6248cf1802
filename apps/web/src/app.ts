/** The page: photos in, clicks to prompts, masks out, and what each bundle costs. */
import { openCamera } from "./camera";
import { Client, THREADS } from "./client";
import { fetched, fetchedJSON } from "./fetched";
import { iou, type Photo } from "./mobilesam";
import { EverythingPanel } from "./panel";
import { maskFile, pixelsOf, save } from "./photo";
import { Stage, type Mode } from "./stage";
import { withBox, withPoint, type Step } from "./steps";
import { BundleTable, megabytes } from "./table";
import type { Accelerator, BundleEntry, Decoded, Progress } from "./worker/protocol";

function part<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

const buttons = {
  undo: part<HTMLButtonElement>("undo"),
  clear: part<HTMLButtonElement>("clear"),
  save: part<HTMLButtonElement>("save"),
  compare: part<HTMLButtonElement>("compare"),
};
const refine = part<HTMLInputElement>("refine");
const progressBar = part<HTMLProgressElement>("progress");
const accelerator = part<HTMLSelectElement>("accelerator");

let clients: Client[] = [];
let active = 0;
let photo: Photo | null = null;
let step: Step | null = null;
let answer: Decoded | null = null;
/** Counts what the user asked for; what an older task finds is not shown. */
let task = 0;

const table = new BundleTable(part("bundles"), part("meaning"), (index) => choose(index));
const stage = new Stage(part("image"), part("canvas"), {
  point: (point) => ask(withPoint(step, point, refine.checked)),
  box: (box) => ask(withBox(step, box, refine.checked)),
  mode: () => document.querySelector<HTMLInputElement>("input[name=mode]:checked")!.value as Mode,
  moved: (x, y) => say(`Crosshair at ${Math.round(x)}, ${Math.round(y)}`),
});

const panel = new EverythingPanel(stage, {
  say: (sentence, state) => say(sentence, state),
  progress: (share) => {
    progressBar.hidden = share === 1;
    progressBar.value = share;
  },
});

function say(sentence: string, state = document.body.dataset.state!): void {
  part("status").textContent = sentence;
  document.body.dataset.state = state;
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fail(error: unknown): void {
  say(words(error), "error");
}

/** Run what the user asked for; only the latest request may speak. */
async function attempt(run: (current: () => boolean) => Promise<void>): Promise<void> {
  const own = ++task;
  const current = () => own === task;
  progressBar.hidden = true;
  try {
    await run(current);
  } catch (error) {
    if (current()) fail(error);
  } finally {
    if (current()) progressBar.hidden = true;
  }
}

function showProgress(name: string, { loaded, total }: Progress): void {
  progressBar.hidden = false;
  progressBar.value = loaded / total;
  say(`Loading ${name}: ${megabytes(loaded)} of ${megabytes(total)}`, "busy");
}

/** A bundle's answer, with all that has to happen before. */
async function answerOf(client: Client, asked: Step, current: () => boolean): Promise<Decoded> {
  await encode(client, current);
  return client.decode(asked);
}

async function encode(client: Client, current: () => boolean): Promise<void> {
  const name = client.entry.name;
  if (!client.holds(photo!)) say(`Loading ${name}…`, "busy");
  await client.open((progress) => current() && showProgress(name, progress));
  if (!current()) return;
  progressBar.hidden = true;
  if (!client.holds(photo!)) say(`${name} reads the photo…`, "busy");
  await client.encode(photo!);
  if (current()) refresh();
}

async function show(current: () => boolean): Promise<void> {
  const client = clients[active];
  panel.close();
  if (!photo) return say("Choose a photo, drop one, or take one with the camera.", "empty");
  await encode(client, current);
  if (!current()) return;
  if (!step) {
    answer = null;
    stage.update(null, null);
    refresh();
    return say("Click on an object.", "ready");
  }
  say("Looking for the object…", "busy");
  const asked = step;
  const found = await client.decode(asked);
  if (!current()) return;
  answer = found;
  stage.update(asked, found.mask);
  if (active > 0 && clients[0].holds(photo)) {
    table.agreement(active, iou((await clients[0].decode(asked)).mask, found.mask));
  }
  refresh();
  say(summary(found), "ready");
}

function summary({ mask, predictedIou }: Decoded): string {
  const share = mask.reduce((sum, value) => sum + value, 0) / mask.length;
  const percent = (100 * share).toFixed(share < 0.1 ? 1 : 0);
  part("area").textContent = `${percent} % of the photo`;
  part("predicted").textContent = predictedIou.toFixed(3);
  return share === 0 ? "Nothing was found there." : `The mask covers ${percent} % of the photo.`;
}

function refresh(): void {
  buttons.undo.disabled = step === null;
  buttons.clear.disabled = step === null && !panel.shown;
  panel.enable(photo !== null);
  buttons.save.disabled = answer === null;
  buttons.compare.disabled = step === null || photo === null;
  part("answer").hidden = answer === null;
  if (answer) part("time").textContent = `${Math.round(answer.decodeMs)} ms`;
  part("engine").textContent = clients[active].opened?.engine ?? "";
  table.refresh(clients, active);
}

/** Show another prompt; where it cannot be asked, the one before stays. */
function ask(next: Step | null): Promise<void> {
  const before = step;
  step = next;
  table.forgetAgreement();
  return attempt(async (current) => {
    try {
      await show(current);
    } catch (error) {
      if (current()) step = before;
      throw error;
    }
  });
}

async function load(file: Blob | null): Promise<void> {
  if (!file) return;
  await attempt(async (current) => {
    say("Reading the photo…", "busy");
    const pixels = await pixelsOf(file);
    if (!current()) return;
    photo = pixels;
    step = null;
    answer = null;
    table.forgetAgreement();
    part("drop").hidden = true;
    part("photo").hidden = false;
    stage.show(pixels, URL.createObjectURL(file));
    await show(current);
  });
}

/** Masks of everything in the photo, in place of a prompt's. */
async function everything(): Promise<void> {
  if (!photo || panel.running) return panel.stop();
  const asked = photo;
  await attempt(async (current) => {
    step = null;
    answer = null;
    panel.close();
    stage.update(null, null);
    await encode(clients[active], current);
    if (!current()) return;
    const done = panel.over(asked, clients[active], current);
    refresh();
    await done;
  });
}

/** Another bundle answers; of the others only the first, which it is compared with, stays open. */
async function choose(index: number): Promise<void> {
  active = index;
  clients.forEach((client, i) => i !== 0 && i !== active && client.close());
  await attempt(show);
}

/** Every bundle answers the prompt, one after the other; why one cannot is said at the end. */
async function compare(): Promise<void> {
  await attempt(async (current) => {
    const asked = step!;
    const refused: string[] = [];
    const first = (await answerOf(clients[0], asked, current)).mask;
    for (const [index, client] of clients.entries()) {
      if (index === 0 || !current()) continue;
      try {
        const { mask } = await answerOf(client, asked, current);
        if (!current()) return;
        table.agreement(index, iou(first, mask));
      } catch (error) {
        refused.push(`${client.entry.name}: ${words(error)}`);
      }
      refresh();
      if (index !== active) client.close();
    }
    if (!current()) return;
    await show(current);
    if (refused.length > 0 && current()) throw new Error(refused.join(". "));
  });
}

async function saveMask(): Promise<void> {
  if (answer && photo) save(await maskFile(answer.mask, photo), "mask.png");
}

function makeClients(entries: readonly BundleEntry[]): void {
  clients.forEach((client) => client.close());
  clients = entries.map((entry) => new Client(entry, accelerator.value as Accelerator));
  table.forgetAgreement();
}

function listen(entries: readonly BundleEntry[]): void {
  const file = part<HTMLInputElement>("file");
  const snap = part<HTMLInputElement>("snap");
  for (const input of [file, snap]) {
    input.addEventListener("change", () => {
      void load(input.files?.[0] ?? null);
      input.value = "";
    });
  }
  const undo = () => step && ask(step.previous);
  const clear = () => (step || panel.shown) && ask(null);
  part("choose").addEventListener("click", () => file.click());
  part("camera").addEventListener("click", () => openCamera(snap).then(load, fail));
  part("example").addEventListener("click", () =>
    fetched("example.png")
      .then((example) => example.blob())
      .then(load)
      .catch(fail),
  );
  buttons.undo.addEventListener("click", undo);
  buttons.clear.addEventListener("click", clear);
  buttons.save.addEventListener("click", saveMask);
  buttons.compare.addEventListener("click", compare);
  part("everything").addEventListener("click", everything);
  accelerator.addEventListener("change", () => {
    makeClients(entries);
    void attempt(show);
  });
  const keys: Record<string, () => unknown> = {
    u: undo,
    c: clear,
    s: saveMask,
    o: () => file.click(),
    e: everything,
    r: () => (refine.checked = !refine.checked),
  };
  document.addEventListener("keydown", (event) => {
    const undone = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
    if (event.target instanceof HTMLSelectElement || document.querySelector("dialog[open]")) return;
    if (undone) undo();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey) keys[event.key.toLowerCase()]?.();
  });
  const target = document.querySelector<HTMLElement>(".stage")!;
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  document.addEventListener("dragleave", () => target.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    void load(event.dataTransfer?.files[0] ?? null);
  });
  document.addEventListener("paste", (event) => load(event.clipboardData?.files[0] ?? null));
}

async function start(): Promise<void> {
  const listed = await fetchedJSON<{ bundles: BundleEntry[]; example: boolean }>("bundles.json");
  makeClients(listed.bundles);
  table.fill(listed.bundles);
  listen(listed.bundles);
  part("example").hidden = !listed.example;
  part("accelerators").hidden = !("gpu" in navigator && (await navigator.gpu.requestAdapter()));
  buttons.compare.hidden = listed.bundles.length < 2;
  if (THREADS === 1) {
    part("threads").hidden = false;
    part("threads").textContent = globalThis.crossOriginIsolated
      ? "This device has one core for the page, so one thread computes."
      : "One thread computes: this host does not send the two headers that threads need " +
        "(Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp).";
  }
  refresh();
  await attempt(async (current) => {
    await clients[0].open((progress) => current() && showProgress(clients[0].entry.name, progress));
    if (!current()) return;
    refresh();
    await show(current);
  });
}

void start().catch(fail);
