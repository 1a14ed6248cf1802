/** The table of bundles: which one answers, and each one's size, times and agreement. */
import type { Client } from "./client";
import type { BundleEntry } from "./worker/protocol";

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function milliseconds(value: number | undefined): string {
  if (value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export class BundleTable {
  private rows: HTMLTableRowElement[] = [];
  private agreements = new Map<number, number>();
  private entries: readonly BundleEntry[] = [];

  constructor(
    private readonly body: HTMLElement,
    private readonly meaning: HTMLElement,
    private readonly choose: (index: number) => void,
  ) {}

  fill(entries: readonly BundleEntry[]): void {
    this.entries = entries;
    this.rows = entries.map((entry, index) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "radio";
      input.name = "bundle";
      input.value = entry.name;
      input.checked = index === 0;
      input.addEventListener("change", () => this.choose(index));
      const name = document.createElement("span");
      const size = document.createElement("small");
      size.textContent = megabytes(entry.sizeBytes);
      name.append(entry.name, " ", size);
      label.append(input, name);
      head.append(label);
      row.append(head, ...Array.from({ length: 3 }, () => document.createElement("td")));
      return row;
    });
    this.body.replaceChildren(...this.rows);
  }

  /** Set a bundle's IoU with the first one's mask. */
  agreement(index: number, iou: number): void {
    this.agreements.set(index, iou);
  }

  forgetAgreement(): void {
    this.agreements.clear();
  }

  refresh(clients: readonly Client[], active: number): void {
    this.meaning.textContent = this.entries[active].meaning;
    clients.forEach((client, index) => {
      const row = this.rows[index];
      const agreement = this.agreements.get(index);
      const shared = index === 0 ? "first" : agreement === undefined ? "–" : agreement.toFixed(3);
      const texts = [
        milliseconds(client.encoded?.encodeMs),
        milliseconds(client.decoded?.decodeMs),
        shared,
      ];
      row.classList.toggle("chosen", index === active);
      row.querySelectorAll("td").forEach((cell, i) => (cell.textContent = texts[i]));
    });
  }
}
