// Keys for what has a button.

export function mount({ call }) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) call.hush();
  });
}
