// All words of a language, as the pages have them once they stand.

import { readdirSync } from "node:fs";

const FOLDER = new URL("../../../static/js/i18n/", import.meta.url);
export const PARTS = ["first", "talk", "inspector", "settings", "foresight"];

/** @returns {Promise<object>} part → its words */
export async function partsOf(code) {
  const files = readdirSync(new URL(`${code}/`, FOLDER)).sort();
  if (files.join() !== PARTS.map((part) => `${part}.js`).sort().join()) throw new Error(`${code}: ${files}`);
  return Object.fromEntries(await Promise.all(PARTS.map(async (part) => [part, (await import(new URL(`${code}/${part}.js`, FOLDER))).default])));
}

export const ALL = Object.assign({}, ...Object.values(await partsOf("en")));
