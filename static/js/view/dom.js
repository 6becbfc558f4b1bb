// Making elements. Text only ever becomes a text node.

/**
 * @param tag name of the element
 * @param attributes `class`, `onclick` and other listeners, properties that are booleans, everything else as attribute;
 *   what is null, undefined or false is left out
 * @param children elements or text; what is null or false is left out
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.toggleAttribute(name, true);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A picture out of the sprite of index.html. */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Change a text only where it differs: what reads the page aloud is not told the same twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Keep the children of a list in step with rows of data: those of known keys stay, moved where they belong.
 * @param keyOf row → key @param make row → element @param update (element, row), for every row
 */
export function keyed(list, rows, keyOf, make, update = () => {}) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  rows.forEach((row, place) => {
    const key = String(keyOf(row));
    let element = known.get(key);
    known.delete(key);
    if (!element) {
      element = make(row);
      element.dataset.key = key;
    }
    update(element, row);
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
  });
  for (const element of known.values()) element.remove();
}
