// Which words of a response are heard, which one sounds now, and which will not be heard any more. Pure.

const WORD = /\S+/g;

/** @returns {string[]} the words of a text: what white space parts */
export const wordsOf = (text) => text.match(WORD) ?? [];

/** Where the first `count` words of a text end, in characters. */
export function endOf(text, count) {
  let end = 0;
  let place = 0;
  for (const match of text.matchAll(WORD)) {
    if (place === count) break;
    place += 1;
    end = match.index + match[0].length;
  }
  return end;
}

/**
 * How many words have begun to sound.
 * @param words {text, start_ms, end_ms} in their order
 * @param ms of the response's sound that have reached the ear
 */
export function begunAt(words, ms) {
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle].start_ms <= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A text in three: what has been said, the word that sounds, what is still to come. White space stays with the words
 * before it, so the three together are the text.
 * @param count words that have begun; the last of them is the one that sounds
 * @param silent nothing sounds just now (the last word that has begun is over)
 */
export function split(text, count, silent = false) {
  if (count <= 0) return ["", "", text];
  const before = silent ? endOf(text, count) : endOf(text, count - 1);
  const now = silent ? before : endOf(text, count);
  return [text.slice(0, before), text.slice(before, now), text.slice(now)];
}

/**
 * The parts of a response while it sounds; null where its voice tells no times: then the whole text stands.
 * @param words the times known so far
 * @param ms since its first sample reached the ear; below 0 nothing has
 */
export function partsAt(text, words, ms) {
  if (!words?.length) return null;
  const count = begunAt(words, ms);
  return split(text, count, count > 0 && words[count - 1].end_ms < ms);
}

/**
 * What was heard of a response that was cut, in the server's words, and the rest of what would have been said.
 * @returns {{heard: string, unheard: string}}
 */
export function cut(said, heard) {
  const words = wordsOf(heard);
  const planned = wordsOf(said);
  // A last word that was cut in the middle may be told in part; what comes after as many words is the rest in any case.
  const broken = words.length > 0 && planned.length >= words.length
    && planned[words.length - 1] !== words.at(-1) && planned[words.length - 1].startsWith(words.at(-1));
  const rest = said.slice(endOf(said, words.length)).trim();
  const half = broken ? planned[words.length - 1].slice(words.at(-1).length) : "";
  return { heard: heard.trim(), unheard: [half, rest].filter(Boolean).join(" ") };
}

/** Times of words as they come: several events for one response, appended in order; what is no word is left out. */
export function append(words, more, limit) {
  const good = (Array.isArray(more) ? more : []).filter((word) =>
    typeof word?.text === "string" && Number.isFinite(word.start_ms) && Number.isFinite(word.end_ms));
  return [...words, ...good].slice(0, limit);
}
