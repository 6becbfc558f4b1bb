// The languages of the page, and which of them a reader would like best.

/** Code → what its speakers call it. */
export const NAMES = { en: "English", de: "Deutsch", es: "Español" };
export const LANGUAGES = Object.keys(NAMES);

/** @param chosen a code or null @param wanted codes in the reader's order, as `navigator.languages` has them @returns a code */
export function languageOf(chosen, wanted = []) {
  if (LANGUAGES.includes(chosen)) return chosen;
  return wanted.map((code) => code.toLowerCase().split("-")[0]).find((code) => LANGUAGES.includes(code)) ?? "en";
}
