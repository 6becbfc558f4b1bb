// The language that the user speaks: chosen among those that the server's recogniser knows, or left for it to detect.

const names = new Intl.DisplayNames(["en"], { type: "language" });

/** @returns {string} what people call the language with this code; the code where nobody does */
function nameOf(code) {
  try {
    return names.of(code) ?? code;
  } catch {
    return code;
  }
}

class LanguageView {
  #choice = document.getElementById("language-choice");
  #select = document.getElementById("language");
  #shown = "";

  /** @param speak(code) is told the choice; null: any language is listened for */
  constructor(speak) {
    this.#select.addEventListener("change", () => speak(this.#select.value || null));
  }

  render(state) {
    const languages = state.engines.rows?.find(({ stage }) => stage === "stt")?.languages ?? [];
    if (languages.join() !== this.#shown) this.#fill(languages);
    this.#choice.hidden = languages.length < 2;
    this.#select.value = languages.includes(state.settings.language) ? state.settings.language : "";
  }

  #fill(languages) {
    this.#shown = languages.join();
    const named = languages.map((code) => [code, nameOf(code)]).sort(([, one], [, other]) => one.localeCompare(other));
    this.#select.replaceChildren(...[["", "Any language"], ...named].map(([code, name]) => new Option(name, code)));
  }
}

export function mount({ store, call }) {
  const view = new LanguageView((code) => call.setLanguage(code));
  store.subscribe((state) => view.render(state));
}
