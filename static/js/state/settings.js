// What the user has chosen on this page.

const initial = {
  language: null, // code of what the user has chosen to speak; null: it is detected
};

const handlers = {
  "client.language": (slice, event) => ({ ...slice, language: event.language }),
};

export const settings = { initial, handlers };
