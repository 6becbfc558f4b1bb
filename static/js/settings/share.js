// A link that carries what was chosen for a conversation, never a key. It stands behind the #, which browsers do not send.

import { INITIAL, TABLE } from "./table.js";

const CARRIED = Object.keys(TABLE).filter((name) => TABLE[name].link);

/** @param address where the page is, or shall be opened @param chosen settings @returns {string} Pure. */
export function linkFor(address, chosen) {
  const url = new URL(address);
  const carried = CARRIED.filter((name) => chosen[name] !== INITIAL[name]).map((name) => [name, chosen[name]]);
  url.hash = new URLSearchParams(carried).toString();
  url.username = url.password = url.search = "";
  return url.href;
}

/** What a link carries and is legal; everything else in it is passed over. @param hash with its # @returns {object} Pure. */
export function carriedBy(hash) {
  const found = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  return Object.fromEntries(CARRIED.filter((name) => name in found && TABLE[name].legal(found[name]) && found[name])
    .map((name) => [name, found[name]]));
}

/** Take what the page's own address carries, and leave the rest of its fragment. */
export function takeFromAddress(settings) {
  const carried = carriedBy(location.hash);
  if (!Object.keys(carried).length) return;
  settings.merge(carried);
  const rest = new URLSearchParams(location.hash.slice(1));
  Object.keys(carried).forEach((name) => rest.delete(name));
  history.replaceState(history.state, "", location.pathname + location.search + (rest.size ? `#${rest}` : ""));
}

/** The address that others can use: secure if the server has one. @param status the server's, or null */
export function addressFor(status, here) {
  if (here.protocol === "https:" || !status?.https_url) return here.origin + here.pathname;
  return status.https_url;
}
