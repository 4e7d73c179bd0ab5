// The banner: whether the node answers, the cluster has a leader and publishers may publish. It watches on its own, tries again
// with growing pauses, and has all pages load anew when things are right again.

import { api, health, Refusal } from "./api.js";
import { fill, h } from "./dom.js";
import { refreshAll, whenInTrouble } from "./live.js";
import { session } from "./session.js";
import { icon } from "./icons.js";

const watchEvery = 2500; // milliseconds, while all is well
const pauses = [1000, 1000, 2000, 3000, 5000]; // between tries when it is not; the last one stays

const banner = h("div", { class: "banners", role: "alert" });
let timer = 0;
let tries = 0;
let trouble = ""; // what is wrong, "" for nothing
let drained = false; // the node is out of service on purpose
let missed = 0; // answers that did not come, one after the other
let onLeader = () => {};

export const statusBanner = banner;
export function whenLeaderKnown(f) {
  onLeader = f;
}

export function watch() {
  clearTimeout(timer);
  look();
}

export function stopWatching() {
  clearTimeout(timer);
  timer = 0;
  tries = 0;
  missed = 0;
  trouble = "";
  fill(banner);
}

async function look() {
  clearTimeout(timer);
  const before = trouble;
  let alarms = [];
  try {
    const answer = await health();
    drained = answer.status !== "ok" && /\bdrained\b/.test(answer.reason); // it serves no clients, but these pages
    trouble = answer.status === "ok" || drained ? "" : answer.reason;
    if (!drained) onLeader(answer.leader ?? ""); // else the answer does not say
    missed = 0;
    if (!trouble) alarms = await raised();
  } catch {
    missed += 1;
    if (missed > 1) trouble = "gone"; // one that is late only is no reason to alarm anybody
  }
  if (!session.authorization) return;
  tries = trouble ? tries + 1 : 0;
  const pause = trouble ? pauses[Math.min(tries, pauses.length) - 1] : missed ? 500 : watchEvery;
  draw(alarms);
  if (before && !trouble) refreshAll();
  timer = setTimeout(look, pause);
}

// raised are the alarms of all nodes, which every user may know of.
async function raised() {
  try {
    await api.get(["health", "checks", "alarms"]);
  } catch (e) {
    if (e instanceof Refusal && e.answer?.alarms) return e.answer.alarms;
  }
  return [];
}

function draw(alarms) {
  const list = [];
  if (trouble === "gone") {
    list.push(
      line("bad", "This node does not answer.", "What is shown is what it said last. Trying again; another node of the cluster shows the same."),
    );
  } else if (trouble) {
    list.push(
      line(
        "bad",
        "The cluster cannot serve from here.",
        `${trouble[0].toUpperCase()}${trouble.slice(1)}. What is shown may be old, and nothing can be changed.`,
      ),
    );
  }
  if (drained && !trouble)
    list.push(line("warn", "This node is drained.", "It takes no clients until it is revived or started again. Its pages work."));
  for (const resource of new Set(alarms.map((a) => a.resource))) {
    const nodes = alarms
      .filter((a) => a.resource === resource)
      .map((a) => a.node)
      .join(", ");
    list.push(line("warn", "Publishers are blocked.", `Too little ${resource} on ${nodes}. Consumers go on.`));
  }
  fill(banner, list);
}

const line = (kind, title, text) =>
  h(
    "div",
    { class: `banner ${kind}` },
    icon("alert"),
    h("p", {}, h("strong", {}, title), " ", text),
    trouble ? h("button", { type: "button", class: "small", onclick: watch }, "Try now") : null,
  );

whenInTrouble(() => {
  if (session.authorization && !trouble) watch();
});
