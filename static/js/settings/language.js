// The language that the user speaks: chosen among those that the server's recogniser knows, or left for it to detect.

import { spoken } from "../i18n/index.js";
import { byId } from "../view/dom.js";

/** @returns {string} what people call the language with this code; the code where nobody does */
export function nameOf(code) {
  try {
    return new Intl.DisplayNames([spoken()], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** Codes that the server's recogniser knows. @param slice state.engines */
export const languagesOf = ({ rows, status }) => rows?.find(({ stage }) => stage === "stt")?.languages ?? status?.languages ?? [];

/** [code, name] sorted by name, after the row of none. */
export function optionsOf(languages, none) {
  const named = languages.map((code) => [code, nameOf(code)]).sort(([, one], [, other]) => one.localeCompare(other, spoken()));
  return [["", none], ...named];
}

/** The choice beside the engines: hidden where there is but one. */
export function mount({ store, settings, t }) {
  const choice = byId("language-choice");
  const select = byId("language");
  let shown = "";
  select.addEventListener("change", () => settings.set("language", select.value || null));

  function render(state) {
    const languages = languagesOf(state.engines);
    if (languages.join() + spoken() !== shown) {
      shown = languages.join() + spoken();
      select.replaceChildren(...optionsOf(languages, t("settings.any_language")).map(([code, name]) => new Option(name, code)));
    }
    choice.hidden = languages.length < 2;
    const chosen = settings.get("language");
    select.value = languages.includes(chosen) ? chosen : "";
  }

  store.subscribe(render);
}
