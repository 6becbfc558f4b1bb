import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { LANGUAGES, NAMES, languageOf } from "../../../static/js/i18n/languages.js";
import { add, load, more, spoken, t, wording } from "../../../static/js/i18n/index.js";
import { ALL, PARTS, partsOf } from "./words.mjs";

const STATIC = new URL("../../../static/", import.meta.url);
/** Page → the part of the words that is there when it stands. */
const PAGES = { "index.html": "first", "foresight.html": "foresight" };
const english = await partsOf("en");
const holes = (text) => [...text.matchAll(/\{\w+\}/g)].map(([hole]) => hole).sort().join();

/** Same in two languages, and rightly so: names, marks, and what people of that language say too. */
const LOANS = /^(step\.server|controls\.start|page\.inspector.*|inspector\.title|help\.help|settings\.pipeline|tool\.|quality\.|chip\.gesture|words\.interrupted|foresight\.fact\.video)/;

for (const code of LANGUAGES) {
  test(`${NAMES[code]} has every word, with the same holes`, async () => {
    const parts = await partsOf(code);
    for (const part of PARTS) {
      assert.deepEqual(Object.keys(parts[part]).sort(), Object.keys(english[part]).sort(), part);
      for (const [key, text] of Object.entries(parts[part])) {
        assert.equal(holes(text), holes(english[part][key]), key);
        assert.ok(text.trim() === text && text, key);
        const said = text.replace(/\{\w+\}/g, "");
        if (code !== "en" && text === english[part][key]) assert.ok(LOANS.test(key) || !/[a-z]{4}/.test(said), `${key} is English: ${text}`);
      }
    }
  });
}

test("no key is in two parts, so that each has one place", () => {
  const keys = PARTS.flatMap((part) => Object.keys(english[part]));
  assert.equal(new Set(keys).size, keys.length);
});

test("another page has its English at once, and its words in every language with those of the first screen", async () => {
  assert.equal(t("foresight.ask"), "foresight.ask");
  add("foresight", english.foresight);
  assert.equal(t("foresight.ask"), "Look ahead");
  await load("es");
  assert.equal(t("foresight.badge.ahead", { seconds: "0,5" }), "dentro de 0,5 s");
  assert.equal(t("controls.start"), "Empezar");
  await load("en");
});

test("the reader's language is chosen, then the browser's, then English", () => {
  assert.equal(languageOf("es", ["de"]), "es");
  assert.equal(languageOf("xx", ["fr-FR", "de-AT"]), "de");
  assert.equal(languageOf(null, ["fr"]), "en");
});

test("words change while the page runs, and what is late comes in the language that is spoken then", async () => {
  const before = wording();
  assert.equal(t("settings.title"), "settings.title"); // not there yet
  await load("de");
  assert.equal(t("controls.start"), "Start");
  await Promise.all([more(), more()]);
  assert.equal(t("settings.title"), "Einstellungen");
  await load("es");
  assert.equal(t("status.reconnecting", { attempt: 2 }), "Reconectando (2)");
  assert.equal(t("settings.title"), "Ajustes");
  await load("xx");
  assert.equal(spoken(), "es"); // no such language: nothing changes
  await load("en");
  assert.equal(t("settings.title"), "Settings");
  assert.ok(wording() > before);
});

for (const [name, part] of Object.entries(PAGES)) test(`every visible text of ${name} has a key that says it`, () => {
  const page = readFileSync(new URL(name, STATIC), "utf8");
  const title = /<title data-t="([^"]+)">([^<]+)</.exec(page);
  if (title) assert.equal(ALL[title[1]], title[2]);
  const body = page.slice(page.indexOf("<body>")).replace(/<symbol.*?<\/symbol>|<noscript>.*?<\/noscript>/gs, "");
  for (const [, tag, attributes, text] of body.matchAll(/<(\w+)((?:\s[^<>]*)?)>([^<>]*[A-Za-z]{2}[^<>]*)</g)) {
    const key = /data-t="([^"]+)"/.exec(attributes)?.[1];
    const drawn = /id="(status-text|talk-text|mute-text|camera-text|share-text|toggle)"/.test(attributes) || text.trim() === "visavis";
    assert.ok(drawn || ALL[key] === text.trim(), `<${tag}${attributes}> ${text}`);
  }
  const places = { "aria-label": "data-t-label", title: "data-t-title", placeholder: "data-t-placeholder" };
  for (const [element] of body.matchAll(/<\w+\s[^<>]*>/g)) {
    for (const [place, named] of Object.entries(places)) {
      const said = new RegExp(`\\s${place}="([^"]+)"`).exec(element)?.[1];
      if (said) assert.equal(ALL[new RegExp(`${named}="([^"]+)"`).exec(element)?.[1]], said, element);
    }
  }
  for (const [, key] of page.matchAll(/data-t[\w-]*="([^"]+)"/g)) assert.ok(Object.hasOwn(english[part], key), `${key} is not in ${part}.js`);
});

/** Code without comments, and without what is said to programmers. */
function* codeOf(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === "i18n") continue;
    if (entry.isDirectory()) yield* codeOf(new URL(`${entry.name}/`, folder));
    else {
      const text = readFileSync(new URL(entry.name, folder), "utf8");
      yield [entry.name, text.replace(/\/\*.*?\*\//gs, "").replace(/^\s*\/\/.*$|\s\/\/ .*$/gm, "").replace(/(?:new \w*Error|super)\([^;]*;/gs, ";")];
    }
  }
}

test("every key that the code names has words, and no text is in code", () => {
  const known = new Set(Object.keys(ALL));
  for (const [name, code] of codeOf(new URL("js/", STATIC))) {
    for (const [, key] of code.matchAll(/\bt\("([^"]+)"/g)) assert.ok(known.has(key), `${name}: ${key}`);
    for (const [, prefix] of code.matchAll(/\bt\(`([\w.]+\.)\$\{/g)) {
      assert.ok([...known].some((key) => key.startsWith(prefix)), `${name}: ${prefix}`);
    }
    for (const [, key] of code.matchAll(/"(foresight\.[\w.-]+)"/g)) assert.ok(known.has(key), `${name}: ${key}`);
    for (const [, trouble] of code.matchAll(/new Trouble\("(\w+)"/g)) assert.ok(known.has(`foresight.problem.${trouble}`), `${name}: ${trouble}`);
    for (const [, text] of code.matchAll(/`([^`]*)`/g)) {
      const said = text.replace(/\$\{[^}]*\}/g, "{}");
      assert.ok(!/^[A-Z][a-z]+ (\{\}|[a-z]+) [a-z]|^[A-Z] [a-z]+ |\{\} [a-z]{2,} \{\}|\{\} [a-z]{1,2} [a-z]+/.test(said), `${name}: ${said}`);
    }
    for (const [, text] of code.matchAll(/"([^"\n]*)"/g)) {
      assert.ok(!/^[A-Z][a-z]+ [a-z]+ |[a-z]{2,} [a-z]{2,} [a-z]{2,}.*[.!?]$/.test(text), `${name}: "${text}"`);
    }
    for (const [, text] of code.matchAll(/(?:setText\(.*?, |textContent = |\}, )"(\w[^"]*)"/g)) assert.equal(text, "", name);
    for (const [, text] of code.matchAll(/(?:"aria-label"|title|placeholder): "([^"]*)"/g)) assert.ok(["", "visavis"].includes(text), name);
  }
});
