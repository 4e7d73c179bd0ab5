// Traces: what happened to single messages, and why.

import { api } from "../api.js";
import { names } from "../bindings.js";
import { fill, h } from "../dom.js";
import { number, plural } from "../format.js";
import { filterFields, filterOf } from "../filter.js";
import { field, folded, form, sure } from "../form.js";
import {
  badge,
  card,
  chosenVHost,
  connectionLink,
  exchangeLink,
  queueLink,
  scoped,
  state,
  time,
  values,
  vhostColumn,
  vhostField,
  withVHost,
} from "../parts.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { dataTable, facts, plainTable } from "../table.js";
import { attempt, say } from "../toast.js";

const spans = [
  { value: 60, label: "1 minute" },
  { value: 600, label: "10 minutes" },
  { value: 3600, label: "1 hour" },
  { value: 86400, label: "1 day" },
];

const words = {
  published: "published",
  refused: "refused",
  unroutable: "no queue is there for it",
  duplicate: "dropped as a duplicate",
  full: "refused by a full queue",
  delayed: "delayed",
  routed: "routed, as its delay is over",
  queued: "came into",
  found: "was already in",
  delivered: "delivered from",
  got: "taken by basic.get from",
  acked: "acknowledged, left",
  requeued: "came back to",
  rejected: "rejected, leaves",
  waiting: "waits to be given out again by",
  parked: "kept aside by",
  dead_lettered: "dead-lettered by",
  dropped: "dropped",
  moved: "moved by an operator from",
  purged: "purged from",
  queue_deleted: "gone with the deleted",
};

const ends = new Set(["acked", "dropped", "purged", "queue_deleted", "unroutable", "refused"]);
const running = (t) => (t.state === "running" ? state("running", "good") : state("ended", ""));

async function remove(t, after) {
  const yes = await sure({ title: `Delete trace ${t.name}?`, action: "Delete trace", text: "What it has found is forgotten on all nodes." });
  if (yes && (await attempt(`Trace ${t.name} is deleted.`, () => api.delete(["trace", t.vhost, t.name])))) await after();
}

export function tracesPage(context) {
  const table = dataTable(context, {
    id: "traces",
    caption: "Traces",
    filter: "Filter traces by name",
    one: "trace",
    sort: "name",
    key: (t) => `${t.vhost}\u0000${t.name}`,
    load: (query, signal) => api.get(scoped("trace"), query, signal),
    columns: withVHost([
      { id: "name", label: "Name", sort: "name", cell: (t) => h("a", { href: link("traces", t.vhost, t.name), class: "name" }, t.name) },
      vhostColumn,
      { id: "state", label: "State", sort: "state", cell: running },
      { id: "filter", label: "Follows", from: "s", cell: (t) => (Object.keys(t.filter).length ? values(t.filter) : "all messages") },
      { id: "most", label: "Messages at most", num: true, from: "m", sort: "messages", cell: (t) => number(t.messages) },
      { id: "user", label: "Started by", from: "m", sort: "user", cell: (t) => t.user },
      { id: "until", label: "Ends", from: "m", sort: "ends_at", cell: (t) => time(Date.parse(t.ends_at)) },
      {
        id: "do",
        label: "",
        class: "tight",
        cell: (t) =>
          may.administer()
            ? h("button", { type: "button", class: "small", "aria-label": `Delete ${t.name}`, onclick: () => remove(t, table.refresh) }, "Delete")
            : "",
      },
    ]),
    empty: [
      h("p", { class: "empty-title" }, "No traces"),
      h("p", {}, "A trace tells of single messages who published them, where they went and why, and what became of them."),
    ],
  });
  const place = () => chosenVHost({ vhost: start.fields.vhost?.read() });
  const start = form({
    label: "Start a trace",
    action: "Start",
    fields: [
      vhostField(),
      { name: "name", label: "Name", required: true, maxlength: 255 },
      { name: "queue", label: "Comes to queue", help: "Leave empty for any.", list: (text) => names("queues", place())(text) },
      { name: "id", label: "Message-id is", help: "Leave empty for any." },
      { name: "span", label: "For", type: "select", options: spans, value: 600 },
      { name: "most", label: "Messages at most", type: "number", min: 1, max: 1000, value: 100 },
      ...filterFields(),
    ].map((f) => (f === null || f.read ? f : field(f))),
    async run(v) {
      const vhost = chosenVHost(v);
      const body = { ...filterOf(v), seconds: Number(v.span), messages: v.most ?? 100 };
      if (v.queue) body.queue = v.queue;
      if (v.id) body.message_id = v.id;
      await api.put(["trace", vhost, v.name], body);
      say(`Trace ${v.name} runs.`);
      go("traces", vhost, v.name);
    },
  });
  return {
    title: "Traces",
    body: [table.element, may.administer() ? folded("Start a trace", start.element) : null],
  };
}

export function tracePage(context) {
  const { vhost, name } = context.params;
  const about = h("div", { class: "stack" });
  const story = h("div", { class: "stack" });
  context.live(
    async (signal) => {
      const [t, told] = await Promise.all([
        api.get(["trace", vhost, name], {}, signal),
        api.get(["trace", vhost, name, "events"], { count: 2000 }, signal),
      ]);
      return { t, told };
    },
    ({ t, told }) => {
      fill(
        about,
        card(
          null,
          facts([
            ["State", running(t)],
            ["Follows", Object.keys(t.filter).length ? values(t.filter) : "all messages"],
            ["Messages at most", number(t.messages)],
            ["Started", [time(Date.parse(t.started_at)), ` by ${t.user}`]],
            [t.state === "running" ? "Ends" : "Ended", time(Date.parse(t.ends_at))],
          ]),
          told.complete ? null : h("p", { class: "note" }, gaps(told.nodes)),
        ),
      );
      fill(story, messages(vhost, told));
    },
  );
  const stop = async () => {
    if (await attempt(`Trace ${name} is stopped.`, () => api.post(["trace", vhost, name, "stop"]))) await context.refresh();
  };
  return {
    title: name,
    about: "Trace",
    crumbs: [["Traces", link("traces")]],
    actions: may.administer()
      ? [
          h("button", { type: "button", onclick: stop }, "Stop"),
          h("button", { type: "button", class: "danger-line", onclick: () => remove({ vhost, name }, () => go("traces")) }, "Delete"),
        ]
      : null,
    body: [about, story],
  };
}

const gaps = (nodes) => (nodes.length ? `Events may be missing: ${nodes.map(gap).join("; ")}.` : "No node that answers knows of this trace.");

const gap = (n) =>
  `${n.name} knows all from log entry ${number(n.since_index)} on${n.lost ? `, but for ${plural(n.lost, "event")} that made room` : ""}`;

// messages shows the events message by message, in the order in which they were first met.
function messages(vhost, told) {
  const each = new Map();
  for (const e of told.events) each.set(e.message, [...(each.get(e.message) ?? []), e]);
  if (each.size === 0)
    return h(
      "section",
      { class: "card flush" },
      h(
        "div",
        { class: "empty" },
        h("p", { class: "empty-title" }, "Nothing yet"),
        h("p", {}, "No message that fits has come since the trace began."),
      ),
    );
  return [
    ...[...each].map(([message, events]) => one(vhost, message, events)),
    told.more ? h("p", { class: "note" }, "There are more events than are shown: warrenctl show_trace has them all.") : null,
  ];
}

function one(vhost, message, events) {
  const first = events[0];
  const last = events.at(-1);
  return h(
    "section",
    { class: "card flush", "data-key": message },
    h(
      "header",
      { class: "card-head" },
      h("h2", {}, first.message_id ? `Message ${first.message_id}` : `Message ${message}`),
      ends.has(last.event) ? badge("done") : badge("on its way", { kind: "policy" }),
    ),
    plainTable(
      `Events of message ${message}`,
      ["Time", "What happened", { label: "Why", from: "s" }, { label: "Client", from: "m" }, { label: "Node", from: "m" }],
      events.map((e, i) => ({
        key: `${e.index}-${i}`,
        cells: [time(Date.parse(e.time)), what(vhost, e), why(vhost, e), client(e), e.node ?? "–"],
      })),
    ),
  );
}

const what = (vhost, e) => [
  words[e.event] ?? e.event,
  e.queue ? [" ", queueLink(vhost, e.queue)] : null,
  e.exchange === undefined
    ? null
    : [e.event === "dead_lettered" ? " to " : " through ", exchangeLink(vhost, e.exchange), " with key ", h("code", {}, e.routing_key)],
  e.queues ? [" → ", e.queues.map((q, i) => [i ? ", " : "", queueLink(vhost, q)])] : null,
  e.redelivered ? [" ", badge(`again, ${number(e.acquired_count)}`, { title: "times that it was given out before" })] : null,
  e.until ? [" until ", time(Date.parse(e.until))] : null,
];

const steps = {
  binding: "binding",
  default: "name of the queue",
  alternate: "alternate exchange",
  chance: "chosen",
};

const why = (vhost, e) => [
  e.reason ?? null,
  e.why
    ? h(
        "ul",
        { class: "values" },
        e.why.map((s) =>
          h(
            "li",
            {},
            `${steps[s.why] ?? s.why}: `,
            exchangeLink(vhost, s.source),
            " → ",
            s.destination_type === "queue" ? queueLink(vhost, s.destination) : exchangeLink(vhost, s.destination),
            s.routing_key ? [" ", h("code", {}, s.routing_key)] : null,
            Object.keys(s.arguments).length ? values(s.arguments) : null,
          ),
        ),
      )
    : null,
];

const client = (e) =>
  e.connection === undefined
    ? "–"
    : [
        /^connection \d+ of node|^HTTP API$/.test(e.connection) ? e.connection : connectionLink(e.connection),
        e.channel ? ` (${e.channel})` : "",
        e.user ? h("span", { class: "muted" }, ` ${e.user}`) : null,
        e.consumer_tag ? h("span", { class: "muted" }, ` ${e.consumer_tag}`) : null,
      ];
