// One queue, on several pages: how it is, its messages, moving them, publishing and getting, its bindings, its consumers.

import { api } from "../api.js";
import { bindingsOf } from "../bindings.js";
import { chart, gauges, rates, spanChoice } from "../chart.js";
import { consumerTable } from "../consumers.js";
import { fill, h } from "../dom.js";
import { bytes, number, plural, rate, short } from "../format.js";
import { sure } from "../form.js";
import { getPart } from "../get.js";
import { browser } from "../browse.js";
import { mover } from "../move.js";
import { card, features, state, tabs, values } from "../parts.js";
import { publisher } from "../publish.js";
import { go, link } from "../router.js";
import { facts } from "../table.js";
import { attempt } from "../toast.js";

const waiting = [
  { id: "messages", label: "All", color: 5 },
  { id: "messages_ready", label: "Ready", color: 1 },
  { id: "messages_unacknowledged", label: "Unacknowledged", color: 2 },
];
const traffic = [
  { id: "publish", label: "In", color: 2 },
  { id: "deliver_get", label: "Delivered", color: 1 },
  { id: "ack", label: "Acknowledged", color: 3 },
  { id: "redeliver", label: "Redelivered", color: 6 },
  { id: "get_empty", label: "Got nothing", color: 5 },
];

const pages = { "": overview, messages: (c) => browser(c), move: (c) => mover(c), publish, bindings, consumers };
const labels = { "": "Overview", messages: "Messages", move: "Move", publish: "Publish and get", bindings: "Bindings", consumers: "Consumers" };

export function queuePage(context) {
  const { vhost, name, tab = "" } = context.params;
  const part = pages[tab] ?? overview;
  return {
    title: name,
    about: `Queue in virtual host ${vhost}`,
    crumbs: [["Queues", link("queues")]],
    actions: [
      h("button", { type: "button", onclick: () => purge(context) }, "Purge"),
      h("button", { type: "button", class: "danger-line", onclick: () => remove(vhost, name) }, "Delete"),
    ],
    body: [
      tabs(
        `Pages of queue ${name}`,
        Object.entries(labels).map(([id, text]) => [id, text, link("queues", vhost, name, ...(id ? [id] : []))]),
        tab,
      ),
      part(context),
    ],
  };
}

function overview(context) {
  const { vhost, name } = context.params;
  const queued = chart({
    title: "Messages",
    series: waiting,
    format: short,
    fill: true,
    empty: "Samples come every 5 s from now on.",
  });
  const rated = chart({
    title: "Message rates",
    series: traffic,
    format: rate,
    empty: "Samples come every 5 s from now on.",
  });
  const choice = spanChoice(() => context.refresh(), { longest: 600 });
  const about = h("section", { class: "card" });
  const numbers = h("dl", { class: "tiles" });
  const more = h("div", { class: "columns" });
  context.live(
    (signal) => {
      const { age, incr } = choice.span;
      return api.get(["queues", vhost, name], { msg_rates_age: age, msg_rates_incr: incr, lengths_age: age, lengths_incr: incr }, signal);
    },
    (q) => {
      fill(
        numbers,
        tile("Ready", q.messages_ready, bytes(q.message_bytes_ready)),
        tile("Unacknowledged", q.messages_unacknowledged, bytes(q.message_bytes_unacknowledged)),
        tile("Delayed", q.messages_delayed, "wait for another try"),
        tile("Parked", q.messages_parked, "above the delivery limit"),
        tile(
          "Consumers",
          q.consumers,
          q.single_active_consumer_tag ? `active: ${q.single_active_consumer_tag}` : "",
          link("queues", vhost, name, "consumers"),
        ),
      );
      queued.update(gauges(pick(q, waiting), q.samples_since));
      rated.update(rates(pick(q.message_stats, traffic), q.samples_since));
      fill(
        about,
        h("h2", {}, "About this queue"),
        facts([
          ["Features", features(q)],
          ["State", state(q.state, "good")],
          ["Leader", q.leader],
          ["Replicas", `${q.members.join(", ")}${q.online.length < q.members.length ? ` (answering: ${q.online.join(", ")})` : ""}`],
          ["Size of all messages", bytes(q.message_bytes)],
          ["Policy", q.policy ?? "none"],
          ["Operator policy", q.operator_policy ?? "none"],
          q.exclusive
            ? [
                "Exclusive to",
                q.owner_pid_details ? h("a", { href: link("connections", q.owner_pid_details.name) }, q.owner_pid_details.name) : "a connection",
              ]
            : null,
        ]),
      );
      fill(more, card("Arguments", values(q.arguments)), card("What policies set", values(q.effective_policy_definition)));
    },
  );
  return h(
    "div",
    { class: "stack" },
    numbers,
    h("div", { class: "form-foot" }, choice.element),
    h("div", { class: "columns even" }, card(null, queued.element), card(null, rated.element)),
    about,
    more,
  );
}

const pick = (o, series) => Object.fromEntries(series.map((s) => [s.id, o[`${s.id}_details`]]));
const tile = (name, n, about, href) =>
  h(
    "div",
    { class: "tile" },
    h("dt", {}, href ? h("a", { href }, name) : name),
    h("dd", {}, h("span", { class: "big" }, number(n)), h("span", { class: "about" }, about)),
  );

function publish(context) {
  const { vhost, name } = context.params;
  return h(
    "div",
    { class: "columns" },
    card("Publish a message", publisher({ vhost, exchange: "", key: name, about: "It goes to this queue, through the default exchange." })),
    card("Get messages", getPart({ vhost, name })),
  );
}

function bindings(context) {
  const { vhost, name } = context.params;
  return bindingsOf(context, { vhost, name, kind: "queue" });
}

function consumers(context) {
  const { vhost, name } = context.params;
  const box = h("section", { class: "card flush" });
  context.live(
    (signal) => api.get(["queues", vhost, name], { columns: "consumer_details" }, signal),
    (q) => fill(box, consumerTable(q.consumer_details, { queue: false })),
  );
  return box;
}

async function counts(vhost, name) {
  return api.get(["queues", vhost, name], { columns: "messages,messages_ready,consumers" });
}

async function purge(context) {
  const { vhost, name } = context.params;
  await attempt("", async () => {
    const q = await counts(vhost, name);
    const yes = await sure({
      title: `Purge ${name}?`,
      action: "Purge queue",
      text: `${plural(q.messages_ready, "message that is ready is", "messages that are ready are")} deleted for good. What consumers have not acknowledged yet stays.`,
    });
    if (!yes) return;
    await attempt(`Queue ${name} is purged.`, () => api.delete(["queues", vhost, name, "contents"]));
    await context.refresh();
  });
}

async function remove(vhost, name) {
  await attempt("", async () => {
    const q = await counts(vhost, name);
    const yes = await sure({
      title: `Delete queue ${name}?`,
      action: "Delete queue",
      typed: q.messages > 0 || q.consumers > 0 ? name : undefined,
      text: [
        q.messages ? `${plural(q.messages, "message")} will be lost.` : "It is empty.",
        q.consumers ? `${plural(q.consumers, "consumer")} will be cancelled.` : null,
      ],
    });
    if (yes && (await attempt(`Queue ${name} is deleted.`, () => api.delete(["queues", vhost, name])))) go("queues");
  });
}
