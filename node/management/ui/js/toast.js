// Short news of what was done, or why it was not. They are read out, and stay long enough to be read.

import { h } from "./dom.js";
import { icon } from "./icons.js";

export const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

export function say(text, kind = "good") {
  const note = h(
    "div",
    { class: `toast ${kind}` },
    icon(kind === "good" ? "check" : "alert"),
    h("p", {}, text),
    h("button", { type: "button", class: "bare", "aria-label": "Dismiss", onclick: () => note.remove() }, icon("close")),
  );
  toasts.append(note);
  setTimeout(() => note.remove(), kind === "good" ? 5000 : 15_000);
}

// attempt does something that the server may refuse, and tells how it ended. It returns whether it was done.
export async function attempt(done, f) {
  try {
    await f();
  } catch (e) {
    say(e.message, "bad");
    return false;
  }
  if (done) say(done);
  return true;
}
