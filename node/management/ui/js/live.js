// Loops that keep what is shown up to date: each loads and draws, at the interval that the user has chosen.

import { Refusal, Unreachable, isAbort } from "./api.js";
import { prefs } from "./session.js";

const loops = new Set();
let onTrouble = () => {};

// intervals are the choices, in seconds; 0 is never.
export const intervals = [2, 5, 10, 30, 0];
export const interval = () => prefs.get("refresh", 5);
export function setInterval(seconds) {
  prefs.set("refresh", seconds);
  refreshAll();
}

// whenInTrouble gets the errors that say nothing of a page, but that the node is gone or cannot serve.
export function whenInTrouble(f) {
  onTrouble = f;
}

// live calls load and then draw with what it gave, now and again and again until stop. Errors of the page go to fail, with null when
// it works again.
export function live(load, draw, fail) {
  let timer = 0;
  let running = null;
  let stopped = false;
  const loop = {
    async refresh() {
      clearTimeout(timer);
      running?.abort();
      const mine = new AbortController();
      running = mine;
      try {
        const data = await load(mine.signal);
        if (mine.signal.aborted) return;
        draw(data);
        fail(null);
      } catch (e) {
        if (mine.signal.aborted || isAbort(e)) return;
        if (e instanceof Unreachable || (e instanceof Refusal && e.unavailable)) onTrouble(e);
        else if (!(e instanceof Refusal && e.loggedOut)) fail(e);
      }
      schedule();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      running?.abort();
      loops.delete(loop);
    },
  };
  function schedule() {
    clearTimeout(timer);
    if (!stopped && interval() > 0 && !document.hidden) timer = setTimeout(loop.refresh, interval() * 1000);
  }
  loops.add(loop);
  loop.refresh();
  return loop;
}

export function refreshAll() {
  return Promise.all([...loops].map((l) => l.refresh()));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && interval() > 0) refreshAll();
});
