// The newest events of the data channel, both ways, for those who want to know. Pure: no DOM, no clock.

/** Events kept; older ones are forgotten. */
export const CAPACITY = 2000;
/** A longer text in an event (a picture, a sound) is kept in part. */
export const MAX_TEXT = 400;
const MAX_ITEMS = 60;
const MAX_DEPTH = 8;

/** The same value with long texts and lists cut, so that what is kept stays small. */
export function compact(value, depth = 0) {
  if (typeof value === "string") {
    return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}… (${value.length} characters)` : value;
  }
  if (value === null || typeof value !== "object") return value;
  if (depth >= MAX_DEPTH) return "…";
  if (Array.isArray(value)) {
    const kept = value.slice(0, MAX_ITEMS).map((item) => compact(item, depth + 1));
    return value.length > MAX_ITEMS ? [...kept, `… (${value.length} items)`] : kept;
  }
  const entries = Object.entries(value);
  const kept = entries.slice(0, MAX_ITEMS).map(([key, item]) => [key, compact(item, depth + 1)]);
  return Object.fromEntries(entries.length > MAX_ITEMS ? [...kept, ["…", `${entries.length} fields`]] : kept);
}

/** A ring of the newest events; each has a number that grows, the time, and whether the page sent it. */
export class EventLog {
  #ring = [];
  #next = 0;
  #capacity;

  constructor(capacity = CAPACITY) {
    this.#capacity = capacity;
  }

  /** @param at in ms @param sent whether the page sent it */
  add(event, at, sent = false) {
    this.#ring[this.#next % this.#capacity] = { number: this.#next, at, sent, event: compact(event) };
    this.#next += 1;
  }

  clear() {
    this.#ring = [];
    this.#next = 0;
  }

  /** How many have been added so far. */
  get count() {
    return this.#next;
  }

  /** @returns {{number: number, at: number, sent: boolean, event: object}[]} oldest first @param before only up to there */
  list(before = Infinity) {
    const start = this.#next % this.#capacity;
    const ordered = this.#ring.length < this.#capacity ? this.#ring
      : [...this.#ring.slice(start), ...this.#ring.slice(0, start)];
    return before === Infinity ? [...ordered] : ordered.filter(({ number }) => number < before);
  }
}

/**
 * Whether an event fits a filter: every word must be in its type or its text, no word behind a minus may be;
 * `sent` and `received` choose a direction.
 */
export function filterOf(text) {
  const terms = text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = terms.filter((term) => !term.startsWith("-"));
  const unwanted = terms.filter((term) => term.startsWith("-") && term.length > 1).map((term) => term.slice(1));
  return (entry) => {
    if (!terms.length) return true;
    const where = `${entry.sent ? "sent" : "received"} ${JSON.stringify(entry.event).toLowerCase()}`;
    return wanted.every((term) => where.includes(term)) && !unwanted.some((term) => where.includes(term));
  };
}

/** What is worth knowing of an event in a line. */
export function summaryOf(event) {
  const found = event.delta ?? event.transcript ?? event.scene ?? event.error?.message ?? event.item?.id
    ?? event.item_id ?? event.response?.id ?? event.response_id ?? "";
  return typeof found === "string" ? found : "";
}

/** Events as JSON lines, for the clipboard or a file. */
export const toLines = (entries) =>
  entries.map(({ at, sent, event }) =>
    JSON.stringify({ at_ms: Math.round(at), direction: sent ? "sent" : "received", event })).join("\n");
