// The page's words in the reader's language: English, and over it one other language, key by key. Those of the first
// screen come with the page, the others when it stands.

import first from "./en/first.js";

/** Files of each language, beside `first`. */
const PARTS = ["talk", "inspector", "settings"];

/** Files that are wanted in any language from the beginning. */
const begun = ["first"];

const english = { ...first };
let words = english;
let language = "en";
let edition = 0;
let whole = false; // whether all parts are wanted

/** Speak a language from now on. English stays where it cannot be had. @param code see languages.js */
export async function load(code) {
  if (code === language) return;
  const found = code === "en" ? english : await partsOf(code, [...begun, ...(whole ? PARTS : [])]);
  if (!found) return;
  words = found;
  language = code;
  edition += 1;
}

/** Before `load`: another page than the main one speaks. @param part its file @param own its English, which came with it */
export function add(part, own) {
  Object.assign(english, own);
  begun.push(part);
}

let coming = null;

/** Have the words of everything beside the first screen. @returns a promise that is kept once they are there */
export function more() {
  whole = true;
  coming ??= fetchMore().catch((error) => {
    coming = null; // the server was away: the next call asks again
    throw error;
  });
  return coming;
}

async function fetchMore() {
  const code = language;
  const [inEnglish, own] = await Promise.all([partsOf("en", PARTS), code === "en" ? null : partsOf(code, PARTS)]);
  if (!inEnglish) throw new Error("the words of this page could not be loaded");
  Object.assign(english, inEnglish);
  if (own && language === code) Object.assign(words, own);
  edition += 1;
}

/** @returns {Promise<object|null>} null where one of the files cannot be had */
async function partsOf(code, parts) {
  try {
    const files = await Promise.all(parts.map((part) => import(`./${code}/${part}.js`)));
    return Object.assign({}, ...files.map((file) => file.default));
  } catch {
    return null;
  }
}

/** Code of the language that is spoken: for `lang`, and for the Intl objects. */
export const spoken = () => language;

/** Another number whenever words have come: what was drawn with another one is drawn anew. */
export const wording = () => edition;

/** Words under a key, with `{name}` filled in; the key itself where there are none. */
export function t(key, values = {}) {
  const text = Object.hasOwn(words, key) ? words[key] : english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => (Object.hasOwn(values, name) ? String(values[name]) : hole));
}

/** Attributes of an element whose words the page speaks: attribute with the key → where the words go. */
const PLACES = { "data-t": null, "data-t-label": "aria-label", "data-t-title": "title", "data-t-placeholder": "placeholder" };

/** Speak what stands in the page's HTML, and what was made with keys in these attributes. @param root the document */
export function translate(root) {
  if (edition === 0) return; // English, as it is written there
  root.documentElement.lang = language;
  for (const [attribute, place] of Object.entries(PLACES)) {
    for (const element of root.querySelectorAll(`[${attribute}]`)) {
      const said = t(element.getAttribute(attribute));
      if (place) element.setAttribute(place, said);
      else element.textContent = said;
    }
  }
}
