// The page itself: colours, sizes, keys, its language, and what is read out.

import { load, translate } from "../i18n/index.js";
import { NAMES as LANGUAGES, languageOf } from "../i18n/languages.js";
import { h } from "../view/dom.js";
import { check, choice } from "./fields.js";

const NAMES = ["theme", "text_size", "keys", "announce", "captions", "caption_size"];

export function create({ settings, t }) {
  const percent = (value) => [String(value), t("settings.percent", { value: Math.round(value * 100) })];
  const pick = (name, options, change = (value) => settings.set(name, value)) =>
    choice({ name, label: t(`settings.${name}`), options, change });
  const on = (name) => check({ name, label: t(`settings.${name}`), hint: t(`settings.${name}_hint`), change: (value) => settings.set(name, value) });
  const number = (name, values) => pick(name, values.map(percent), (value) => settings.set(name, Number(value)));

  const theme = pick("theme", ["system", "light", "dark"].map((one) => [one, t(`settings.theme.${one}`)]));
  const size = number("text_size", [1, 1.15, 1.3, 1.5]);
  const lang = choice({ name: "lang", label: t("settings.lang"), hint: t("settings.lang_hint"), change: speak,
    options: [["", t("settings.lang.browser")], ...Object.entries(LANGUAGES)] });
  const captions = on("captions");
  const captionSize = number("caption_size", [1, 1.25, 1.5, 2]);
  const [keys, announce] = ["keys", "announce"].map(on);

  /** The words come first: whoever sees the change of the setting draws with them. */
  async function speak(code) {
    await load(languageOf(code, navigator.languages));
    translate(document);
    settings.set("lang", code);
  }

  function render() {
    theme.show(settings.get("theme"));
    size.show(String(settings.get("text_size")));
    lang.show(settings.get("lang"));
    lang.element.hidden = Object.keys(LANGUAGES).length < 2;
    captions.show(settings.get("captions"));
    captionSize.show(String(settings.get("caption_size")));
    keys.show(settings.get("keys"));
    announce.show(settings.get("announce"));
  }

  // A call goes on in this tab, and the key of this one holds in the other.
  const foresight = h("a", { class: "link", href: "foresight", target: "_blank", rel: "opener" }, t("settings.foresight"));
  const fields = [...[theme, size, lang, captions, captionSize, keys, announce].map(({ element }) => element), foresight];
  return { fields, render, reset() {
    settings.reset(NAMES);
    speak(null);
  } };
}
