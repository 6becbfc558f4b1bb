// Which devices the user has chosen, kept for the next visit. No names leave this browser.

const STORED = "visavis.devices";
const NONE = { microphone: null, camera: null, speaker: null, volume: 1, withCamera: true, pushToTalk: false };

/** What is legal of what was stored; everything else is as if it had not been chosen. Pure. */
export function legal(found) {
  const chosen = { ...NONE };
  for (const kind of ["microphone", "camera", "speaker"]) {
    const { id, label } = found?.[kind] ?? {};
    if (typeof id === "string" && id) chosen[kind] = { id, label: typeof label === "string" ? label.slice(0, 200) : "" };
  }
  if (Number.isFinite(found?.volume)) chosen.volume = Math.min(1, Math.max(0, found.volume));
  for (const flag of ["withCamera", "pushToTalk"]) {
    if (typeof found?.[flag] === "boolean") chosen[flag] = found[flag];
  }
  return chosen;
}

export function readChoice() {
  try {
    return legal(JSON.parse(localStorage.getItem(STORED) ?? "{}"));
  } catch {
    return { ...NONE }; // storage may be forbidden, or hold something else
  }
}

export function keepChoice(chosen) {
  try {
    localStorage.setItem(STORED, JSON.stringify(chosen));
  } catch {
    // then the choice lasts until the page is left
  }
}
