// The page's words in the reader's language: English, and over it one other language, key by key.

import en from "./en.js";

let words = en;
let language = "en";

/** Load a language, before anything is shown. English stays where it cannot be had. @param code see languages.js */
export async function load(code) {
  if (code === "en") return;
  try {
    words = (await import(`./${code}.js`)).default;
    language = code;
  } catch {
    // then the page speaks English
  }
}

/** Code of the language that is spoken: for `lang`, and for the Intl objects. */
export const spoken = () => language;

/** Words under a key, with `{name}` filled in; the key itself where there are none. */
export function t(key, values = {}) {
  const text = Object.hasOwn(words, key) ? words[key] : en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => (Object.hasOwn(values, name) ? String(values[name]) : hole));
}

/** Attributes of an element whose words the page speaks: attribute with the key → where the words go. */
const PLACES = { "data-t": null, "data-t-label": "aria-label", "data-t-title": "title", "data-t-placeholder": "placeholder" };

/** Speak what stands in index.html, which is English. @param root the document */
export function translate(root) {
  if (language === "en") return;
  root.documentElement.lang = language;
  for (const [attribute, place] of Object.entries(PLACES)) {
    for (const element of root.querySelectorAll(`[${attribute}]`)) {
      const said = t(element.getAttribute(attribute));
      if (place) element.setAttribute(place, said);
      else element.textContent = said;
    }
  }
}
