// THE table of what the user may choose: its first value, and which values are legal. Everything else is made from it:
// what is kept, what a link may carry, and what a session is told.

import { LANGUAGES } from "../i18n/languages.js";

const text = (most) => (value) => typeof value === "string" && value.length <= most;
const either = (...legal) => (value) => legal.includes(value);
const flag = either(true, false);
const within = (least, most) => (value) => Number.isFinite(value) && value >= least && value <= most;
const orNull = (is) => (value) => value === null || is(value);

const LONGEST_NAME = 200;
export const LONGEST_INSTRUCTIONS = 4000;
export const EAGERNESS = ["low", "medium", "high"];
/** Silence that ends a turn, in ms. */
export const SILENCE = { least: 200, most: 2000, step: 50, usual: 500 };
export const SPEED = { least: 0.5, most: 2, step: 0.05 };

/** Name → {initial, legal, link?: a link may carry it}. null: as the server has it. */
export const TABLE = {
  voice: { initial: null, legal: orNull(text(LONGEST_NAME)), link: true },
  model: { initial: null, legal: orNull(text(LONGEST_NAME)), link: true },
  speed: { initial: null, legal: orNull(within(SPEED.least, SPEED.most)) },
  language: { initial: null, legal: orNull(text(40)), link: true }, // that the user speaks
  pipeline: { initial: null, legal: orNull(text(LONGEST_NAME)), link: true },
  instructions: { initial: null, legal: orNull(text(LONGEST_INSTRUCTIONS)) },

  turns: { initial: null, legal: either(null, "server_vad", "semantic_vad") },
  silence: { initial: SILENCE.usual, legal: within(SILENCE.least, SILENCE.most) },
  eagerness: { initial: "medium", legal: either(...EAGERNESS) },
  interruptible: { initial: true, legal: flag },

  vision: { initial: {}, legal: (value) => typeof value === "object" && value !== null && !Array.isArray(value) },

  echo: { initial: true, legal: flag },
  noise: { initial: true, legal: flag },
  gain: { initial: true, legal: flag },
  buffer: { initial: 0, legal: either(0, 80) }, // ms of sound held back against a network that stutters

  theme: { initial: "system", legal: either("system", "dark", "light") },
  text_size: { initial: 1, legal: either(1, 1.15, 1.3, 1.5) },
  lang: { initial: null, legal: either(null, ...LANGUAGES) }, // of the page
  keys: { initial: true, legal: flag },
  announce: { initial: false, legal: flag },
  captions: { initial: true, legal: flag },
  caption_size: { initial: 1, legal: either(1, 1.25, 1.5, 2) },
};

export const INITIAL = Object.freeze(Object.fromEntries(Object.entries(TABLE).map(([name, { initial }]) => [name, initial])));
