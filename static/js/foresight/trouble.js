// What goes wrong, in the reader's words; what the server says about it stays as the server says it.

import { t } from "../i18n/index.js";

/** An error that the page has words for: `foresight.problem.` and its code. `said` is what the server says about it. */
export class Trouble extends Error {
  said = "";

  /** @param values of the words */
  constructor(code, values = {}) {
    super(code);
    this.code = code;
    this.values = values;
  }
}

/** What to tell people about any error. */
export function told(error) {
  if (error instanceof Trouble) return error.said || t(`foresight.problem.${error.code}`, error.values);
  return error.message;
}
