// Moving messages out of a queue: to another one, through an exchange, or dead letters back to where they died.

import { api } from "./api.js";
import { names } from "./bindings.js";
import { fill, h } from "./dom.js";
import { filterFields, filterOf } from "./filter.js";
import { number, plural } from "./format.js";
import { field, form, sure } from "./form.js";
import { card, queueLink } from "./parts.js";
import { link } from "./router.js";

const kinds = [
  { value: "queue", label: "Another queue" },
  { value: "exchange", label: "An exchange, which routes them" },
  { value: "first", label: "Where they died first (dead letters)" },
  { value: "last", label: "Where they died last (dead letters)" },
];

export function mover(context) {
  const { vhost, name } = context.params;
  const progress = h("section", { class: "card progress" });
  const said = h("p", { class: "hide", role: "status" });
  progress.hidden = true;
  let stop = null; // of the move that is under way
  context.onEnd(() => stop?.abort());

  const kind = field({ name: "kind", label: "Move them to", type: "select", options: kinds, value: "queue", onchange: choose });
  const target = field({ name: "target", label: "Queue", list: (text) => names(kind.read() === "exchange" ? "exchanges" : "queues", vhost)(text) });
  const key = field({ name: "key", label: "New routing key", help: "Leave empty to keep each message’s own." });

  function choose() {
    const k = kind.read();
    const dead = k === "first" || k === "last";
    fill(target.element.querySelector("label"), k === "exchange" ? "Exchange" : dead ? "Only those that died in queue" : "Queue");
    key.element.hidden = k !== "exchange";
  }
  choose();

  const made = form({
    label: "Move messages",
    action: "Move messages",
    reset: false,
    fields: [
      { group: "Where to" },
      kind,
      target,
      key,
      { group: "Which messages" },
      {
        name: "state",
        label: "Which",
        type: "select",
        options: [
          { value: "ready", label: "Ready" },
          { value: "parked", label: "Parked (above the delivery limit)" },
        ],
        value: "ready",
      },
      { name: "count", label: "How many at most", type: "number", min: 1, help: "Leave empty for all that are there now." },
      { name: "rate", label: "How many a second at most", type: "number", min: 1, help: "Leave empty for as fast as it goes." },
      ...filterFields(),
    ],
    async run(v) {
      const to = destination(v);
      const filter = filterOf(v);
      const q = await api.get(["queues", vhost, name], { columns: "messages_ready,messages_parked" });
      const there = v.state === "parked" ? q.messages_parked : q.messages_ready;
      const count = Math.min(v.count ?? there, there);
      if (there === 0) throw new Error(`The queue has no ${v.state} message.`);
      const some = Object.keys(filter).length ? "that the filter fits, " : "";
      const yes = await sure({
        title: `Move messages of ${name}?`,
        action: "Move them",
        text: `Up to ${plural(count, `${v.state} message`)}, ${some}the oldest first, to ${told(v)}.`,
      });
      if (yes) await move({ to, filter, state: v.state }, count, v.rate);
    },
  });

  function destination({ kind: k, target: t, key: newKey }) {
    if (k === "queue" && !t) throw new Error("Name the queue to move them to.");
    if (k === "queue") return { queue: t };
    if (k === "exchange") return { exchange: t || "amq.default", ...(newKey ? { routing_key: newKey } : {}) };
    return { redrive: k, ...(t ? { queue: t } : {}) };
  }

  const told = ({ kind: k, target: t }) =>
    ({ queue: `queue ${t}`, exchange: `exchange ${t || "amq.default"}`, first: "where they died first", last: "where they died last" })[k];

  // move asks for one part after the other until so many were moved, none is left, or somebody says stop.
  async function move(body, count, rate) {
    stop?.abort();
    const mine = new AbortController();
    stop = mine;
    const all = { moved: 0, kept: 0, count, rate, to: body.to, began: Date.now(), end: "" };
    let from = "";
    while (!all.end) {
      draw(all, mine);
      const began = Date.now();
      const step = Math.min(count - all.moved, rate ?? Math.max(1000, Math.ceil(count / 50)));
      const answer = await api.post(["queues", vhost, name, "move"], { ...body, count: step, from }).catch((e) => ({ failed: e.message }));
      if (answer.failed) {
        all.end = answer.failed;
        all.bad = true;
        break;
      }
      all.moved += answer.moved;
      all.kept += answer.kept;
      from = answer.next ?? "";
      if (answer.full) {
        all.end = "The queue that they go to has reached its limit of length.";
        all.bad = true;
      } else if (all.moved >= count || answer.next === null) all.end = "Done.";
      else if (mine.signal.aborted) all.end = "Stopped.";
      else if (rate && !(await pause(Math.max(0, began + 1000 - Date.now()), mine.signal))) all.end = "Stopped.";
    }
    draw(all, mine);
  }

  function draw(all, mine) {
    const to = all.to.queue ?? null;
    progress.hidden = false;
    said.textContent = all.end ? `${number(all.moved)} of ${number(all.count)} moved. ${all.end}` : "The move has begun.";
    fill(
      progress,
      h("h2", {}, all.end ? "The move has ended" : "Moving…"),
      h("progress", { max: all.count, value: all.moved, "aria-label": "Messages moved" }),
      h(
        "p",
        { class: all.bad ? "problem" : null },
        `${number(all.moved)} of ${number(all.count)} moved`,
        all.kept ? `, ${plural(all.kept, "message")} stayed as no queue would take them` : "",
        all.end ? `. ${all.end}` : "",
      ),
      all.end
        ? to
          ? h("p", {}, "They are in ", queueLink(vhost, to), ".")
          : null
        : h("div", { class: "form-foot" }, h("button", { type: "button", onclick: () => mine.abort() }, "Stop")),
    );
    progress.querySelector("progress").value = all.moved; // patching sets attributes only
  }

  return h(
    "div",
    { class: "stack" },
    card(
      "Move messages",
      h(
        "p",
        { class: "muted" },
        "Each message leaves this queue and enters the other in one step: it is neither lost nor doubled, whatever happens meanwhile. A message that no queue would take stays. ",
        h("a", { href: link("queues", vhost, name, "messages") }, "Look at the messages first"),
        ".",
      ),
      made.element,
    ),
    progress,
    said,
  );
}

// pause waits, and reports whether nobody said stop.
const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve(false);
      },
      { once: true },
    );
  });
