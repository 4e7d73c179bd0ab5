// All at a glance: how much waits, how fast it goes, and how the nodes are.

import { api } from "../api.js";
import { chart, gauges, rates, spanChoice } from "../chart.js";
import { fill, h } from "../dom.js";
import { number, plural, rate, short } from "../format.js";
import { nodeTable } from "../nodes.js";
import { link } from "../router.js";
import { plainTable } from "../table.js";
import { may } from "../session.js";

const waiting = [
  { id: "messages", label: "All", color: 5 },
  { id: "messages_ready", label: "Ready", color: 1 },
  { id: "messages_unacknowledged", label: "Unacknowledged", color: 2 },
];
const traffic = [
  { id: "publish", label: "Published", color: 2 },
  { id: "confirm", label: "Confirmed", color: 4 },
  { id: "deliver_get", label: "Delivered", color: 1 },
  { id: "ack", label: "Acknowledged", color: 3 },
  { id: "redeliver", label: "Redelivered", color: 6 },
  { id: "drop_unroutable", label: "Unroutable", color: 5 },
];

export function overviewPage(context) {
  const tiles = h("dl", { class: "tiles" });
  const queued = chart({ title: "Messages in queues", series: waiting, format: short, fill: true });
  const rated = chart({ title: "Message rates", series: traffic, format: rate });
  const nodes = h("section", { class: "card flush" });
  const more = h("div", { class: "columns" });
  const choice = spanChoice(() => context.refresh());

  async function load(signal) {
    const { age, incr } = choice.span;
    const samples = { msg_rates_age: age, msg_rates_incr: incr, lengths_age: age, lengths_incr: incr };
    const [overview, all] = await Promise.all([api.get(["overview"], samples, signal), may.monitor() ? api.get(["nodes"], {}, signal) : []]);
    return { overview, all };
  }

  context.live(load, ({ overview, all }) => {
    const { queue_totals: totals, object_totals: objects, message_stats: stats, churn_rates: churn } = overview;
    const perSecond = (name) => rate(stats[`${name}_details`]?.rate);
    fill(
      tiles,
      tile(
        "Messages",
        short(totals.messages),
        `${number(totals.messages_unacknowledged)} unacknowledged`,
        link("queues", { sort: "messages", desc: true }),
      ),
      tile("Published", perSecond("publish"), `${perSecond("confirm")} confirmed`),
      tile("Delivered", perSecond("deliver_get"), `${perSecond("ack")} acknowledged`),
      tile("Connections", short(objects.connections), plural(objects.channels, "channel"), link("connections")),
      tile("Queues", short(objects.queues), `${number(objects.exchanges)} exchanges`, link("queues")),
      tile("Consumers", short(objects.consumers), waitText(totals)),
    );
    const here = all.find((n) => n.name === overview.node);
    const since = here?.uptime ? Date.now() - here.uptime : 0;
    queued.update(gauges(pick(totals, waiting), since));
    rated.update(rates(pick(stats, traffic), since));
    if (all.length)
      fill(nodes, h("header", { class: "card-head" }, h("h2", {}, "Nodes"), h("a", { href: link("cluster") }, "Cluster")), nodeTable(all));
    nodes.hidden = all.length === 0;
    fill(more, churnCard(churn), portsCard(overview.listeners));
  });

  return {
    title: "Overview",
    actions: may.monitor() ? choice.element : null,
    body: [
      tiles,
      may.monitor()
        ? h("div", { class: "columns even" }, h("section", { class: "card" }, queued.element), h("section", { class: "card" }, rated.element))
        : null,
      nodes,
      more,
    ],
  };
}

const pick = (o, series) => Object.fromEntries(series.map((s) => [s.id, o[`${s.id}_details`]]));

const waitText = (totals) =>
  [
    totals.messages_delayed ? `${number(totals.messages_delayed)} delayed` : "",
    totals.messages_parked ? `${number(totals.messages_parked)} parked` : "",
  ]
    .filter(Boolean)
    .join(", ") || "nothing delayed or parked";

const tile = (name, value, about, href) =>
  h(
    "div",
    { class: "tile" },
    h("dt", {}, href ? h("a", { href }, name) : name),
    h("dd", {}, h("span", { class: "big" }, value), h("span", { class: "about" }, about)),
  );

function churnCard(churn) {
  if (!churn?.connection_created_details) return null;
  const row = (name, opened, closed) => ({
    key: name,
    cells: [name, number(churn[opened]), rate(churn[`${opened}_details`].rate), number(churn[closed]), rate(churn[`${closed}_details`].rate)],
  });
  return h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "Churn")),
    plainTable(
      "Opened and closed since the nodes started",
      ["What", { label: "Opened", num: true }, { label: "now", num: true }, { label: "Closed", num: true }, { label: "now", num: true }],
      [
        row("Connections", "connection_created", "connection_closed"),
        row("Channels", "channel_created", "channel_closed"),
        row("Queues", "queue_created", "queue_deleted"),
      ],
    ),
  );
}

function portsCard(listeners) {
  if (!listeners?.length) return null;
  return h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "Ports of this node")),
    plainTable(
      "Ports of this node",
      ["Protocol", "Address", { label: "Port", num: true }],
      listeners.map((l) => [l.protocol, l.ip_address, String(l.port)]),
    ),
  );
}
