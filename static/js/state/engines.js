// What does which part of the work on the server, and what else the server says of itself.

import { takenOver } from "../inspector/fetching.js";

const NEWS_MS = 8000;

const initial = {
  rows: null, // or null while not known
  asked: false, // and not told
  news: null, // {list, until}: the engines that have just taken over, and how long to say so (ms)
  status: null, // the answer of GET /v1/status; null where the server has none
};

function told(slice, event) {
  if (!Array.isArray(event.data)) return slice;
  const list = takenOver(slice.rows, event.data);
  const news = list.length ? { list, until: (event.at ?? 0) + NEWS_MS } : slice.news;
  return { ...slice, rows: event.data, news };
}

/** The engines that have just taken over, as long as that is news. @param slice state.engines @param now in ms */
export const newsOf = ({ news }, now) => (news && news.until > now ? news.list : []);

const handlers = {
  "engine.status": told,
  "client.engines_unknown": (slice) => ({ ...slice, asked: true }),
  "client.status": (slice, event) => told({ ...slice, status: event.status }, { ...event, data: event.status.engines }),
};

export const engines = { initial, handlers };
