// The page's words in the user's language: English, and over it one other language, key by key.

import en from "./en.js";

export const LANGUAGES = ["en"];
let words = en;

/** Words under a key, with `{name}` filled in; the key itself where there are none. */
export function t(key, values = {}) {
  const text = Object.hasOwn(words, key) ? words[key] : en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => (Object.hasOwn(values, name) ? String(values[name]) : hole));
}
