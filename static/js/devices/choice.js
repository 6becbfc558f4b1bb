// Which devices the user has chosen, kept for the next visit. No names leave this browser.

import { legal } from "../state/devices.js";

const STORED = "visavis.devices";

export function readChoice() {
  try {
    return legal(JSON.parse(localStorage.getItem(STORED) ?? "{}"));
  } catch {
    return legal({}); // storage may be forbidden, or hold something else
  }
}

/** @param changed what is chosen otherwise now; another tab may have chosen the rest */
export function keepChoice(changed) {
  try {
    localStorage.setItem(STORED, JSON.stringify(legal({ ...readChoice(), ...changed })));
  } catch {
    // then the choice lasts until the page is left
  }
}
