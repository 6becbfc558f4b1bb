// The page as the reader has chosen the main one: its language, its colours, the size of its text.

import english from "../i18n/en/foresight.js";
import { add, load, spoken, translate } from "../i18n/index.js";
import { languageOf } from "../i18n/languages.js";
import { dress } from "../settings/page.js";
import { read } from "../settings/store.js";

/** Dress the page. @returns a promise that is kept once its words are there */
export async function dressed() {
  const chosen = read(() => localStorage);
  dress(chosen);
  add("foresight", english);
  await load(languageOf(chosen.lang, navigator.languages));
  translate(document);
}

/** A number of seconds as it is written in the language that is spoken. */
export const seconds = (value) =>
  new Intl.NumberFormat(spoken(), { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);
