// All exchanges, and one of them: its traffic, its bindings, publishing, where a message would go, and what it delays.

import { api } from "../api.js";
import { bindingsOf } from "../bindings.js";
import { chart, rates, spanChoice } from "../chart.js";
import { fill, h } from "../dom.js";
import { bytes, number, rate } from "../format.js";
import { folded, form, sure } from "../form.js";
import { exchangeArguments } from "../known.js";
import { card, chosenVHost, exchangeLink, features, scoped, tabs, time, values, vhostColumn, vhostField, withVHost } from "../parts.js";
import { publisher } from "../publish.js";
import { routePreview } from "../preview.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { dataTable, facts, plainTable } from "../table.js";
import { attempt, say } from "../toast.js";

const perSecond = (name) => ({
  sort: `message_stats.${name}_details.rate`,
  num: true,
  cell: (x) => {
    const n = x.message_stats?.[`${name}_details`]?.rate;
    return n ? rate(n) : h("span", { class: "zero" }, "0/s");
  },
});

const columns = [
  { id: "name", label: "Name", sort: "name", cell: (x) => exchangeLink(x.vhost, x.name) },
  vhostColumn,
  { id: "type", label: "Type", sort: "type", cell: (x) => x.type },
  { id: "features", label: "Features", from: "m", cell: (x) => features({ ...x, type: "" }) },
  { id: "in", label: "In", from: "s", title: "messages published to it in a second", ...perSecond("publish_in") },
  { id: "out", label: "Out", from: "s", title: "messages that it gave to queues in a second", ...perSecond("publish_out") },
];

export function exchangesPage(context) {
  const table = dataTable(context, {
    id: "exchanges",
    caption: "Exchanges",
    columns: withVHost(columns),
    filter: "Filter exchanges by name",
    one: "exchange",
    key: (x) => `${x.vhost}\u0000${x.name}`,
    load: (query, signal) => api.get(scoped("exchanges"), query, signal),
    empty: [h("p", { class: "empty-title" }, "No exchanges"), h("p", {}, "You may see none, or this virtual host is being deleted.")],
  });
  const type = { name: "type", label: "Type", type: "select", options: ["direct", "fanout", "topic", "headers"], value: "direct" };
  const declare = form({
    label: "Declare an exchange",
    action: "Declare exchange",
    fields: [
      vhostField(),
      { name: "name", label: "Name", required: true, maxlength: 255 },
      type,
      {
        name: "durability",
        label: "Durability",
        type: "select",
        options: [
          { value: "durable", label: "Durable" },
          { value: "transient", label: "Transient" },
        ],
        value: "durable",
      },
      { name: "autoDelete", label: "Auto-delete", type: "checkbox", help: "Delete it when its last binding has gone." },
      { name: "internal", label: "Internal", type: "checkbox", help: "Clients may not publish to it." },
      { name: "args", label: "Arguments", type: "arguments", known: exchangeArguments },
    ],
    async run(v) {
      await api.put(["exchanges", chosenVHost(v), v.name], {
        type: v.type,
        durable: v.durability === "durable",
        auto_delete: v.autoDelete,
        internal: v.internal,
        arguments: v.args,
      });
      say(`Exchange ${v.name} is declared.`);
      await table.refresh();
    },
  });
  api
    .get(["overview"], { columns: "exchange_types", disable_stats: true })
    .then(({ exchange_types: types }) =>
      fill(
        declare.fields.type.input,
        types.map((t) => h("option", { value: t.name, selected: t.name === "direct" }, t.name)),
      ),
    )
    .catch(() => {});
  return { title: "Exchanges", body: [table.element, folded("Declare an exchange", declare.element)] };
}

const pages = { "": overview, bindings, publish, route, delayed };

export function exchangePage(context) {
  const { vhost, name: shown, tab = "" } = context.params;
  const name = shown === "amq.default" ? "" : shown;
  context.exchange = { vhost, name, shown };
  const own = name !== "" && !name.startsWith("amq.");
  const list = [
    ["", "Overview"],
    ["bindings", "Bindings"],
    ["publish", "Publish"],
    ["route", "Route preview"],
    ["delayed", "Delayed messages"],
  ];
  return {
    title: name || "(default exchange)",
    about: `Exchange in virtual host ${vhost}`,
    crumbs: [["Exchanges", link("exchanges")]],
    actions: own ? h("button", { type: "button", class: "danger-line", onclick: () => remove(vhost, name) }, "Delete") : null,
    body: [
      tabs(
        `Pages of exchange ${shown}`,
        list.map(([id, text]) => [id, text, link("exchanges", vhost, shown, ...(id ? [id] : []))]),
        tab,
      ),
      (pages[tab] ?? overview)(context),
    ],
  };
}

const traffic = [
  { id: "publish_in", label: "In", color: 2 },
  { id: "publish_out", label: "Out", color: 1 },
];

function overview(context) {
  const { vhost, shown } = context.exchange;
  const rated = chart({
    title: "Message rates",
    series: traffic,
    format: rate,
    empty: "Samples come every 5 s from now on.",
  });
  const choice = spanChoice(() => context.refresh(), { longest: 600 });
  const about = h("div", { class: "stack" });
  context.live(
    (signal) => api.get(["exchanges", vhost, shown], { msg_rates_age: choice.span.age, msg_rates_incr: choice.span.incr }, signal),
    (x) => {
      const { message_stats: stats } = x;
      rated.update(rates({ publish_in: stats.publish_in_details, publish_out: stats.publish_out_details }, x.samples_since));
      fill(
        about,
        card(
          "About this exchange",
          facts([
            ["Type", x.type],
            ["Features", features({ ...x, type: "" })],
            ["In", `${number(stats.publish_in)} messages`],
            ["Out", `${number(stats.publish_out)} messages`],
            x.messages_delayed !== undefined ? ["Delayed", number(x.messages_delayed)] : null,
            x.messages_recent !== undefined ? ["Remembered", number(x.messages_recent)] : null,
            x.cache_info ? ["Deduplication", `${number(x.cache_info.entries)} remembered`] : null,
            ["Policy", x.policy ?? "none"],
          ]),
        ),
        h("div", { class: "columns" }, card("Arguments", values(x.arguments)), card("What policies set", values(x.effective_policy_definition))),
      );
    },
  );
  return h("div", { class: "stack" }, h("div", { class: "form-foot" }, choice.element), card(null, rated.element), about);
}

function bindings(context) {
  const { vhost, name } = context.exchange;
  return h(
    "div",
    { class: "stack" },
    bindingsOf(context, { vhost, name, kind: "exchange", from: true }),
    name === "" ? null : bindingsOf(context, { vhost, name, kind: "exchange" }),
  );
}

function publish(context) {
  const { vhost, name } = context.exchange;
  return card("Publish a message", publisher({ vhost, exchange: name }));
}

function route(context) {
  const { vhost, shown } = context.exchange;
  return routePreview(context, { vhost, exchange: shown });
}

// delayed lists the messages that x-delay keeps at this exchange: they are in no queue yet.
function delayed(context) {
  const { vhost, shown } = context.exchange;
  const box = h("section", { class: "card flush" });
  const cancel = async (m) => {
    const yes = await sure({ title: "Cancel this message?", action: "Cancel message", text: "It will not be delivered, and is gone for good." });
    if (yes && (await attempt("The message is cancelled.", () => api.delete(["delayed", vhost, m.id])))) await context.refresh();
  };
  context.live(
    (signal) => api.get(["exchanges", vhost, shown, "delayed"], {}, signal),
    (list) =>
      fill(
        box,
        list.length === 0
          ? h(
              "div",
              { class: "empty" },
              h("p", { class: "empty-title" }, "No delayed messages"),
              h("p", {}, "A message with the header x-delay waits for so many milliseconds before it is routed."),
            )
          : plainTable(
              "Delayed messages",
              ["Due", "Routing key", { label: "Delay", num: true, from: "s" }, { label: "Size", num: true, from: "s" }, ""],
              list.map((m) => ({
                key: m.id,
                cells: [
                  time(m.due),
                  m.routing_key,
                  `${number(m.delay)} ms`,
                  bytes(m.bytes),
                  may.makePolicies()
                    ? h("button", { type: "button", class: "small", "aria-label": `Cancel message ${m.id}`, onclick: () => cancel(m) }, "Cancel")
                    : "",
                ],
              })),
            ),
      ),
  );
  return box;
}

async function remove(vhost, name) {
  await attempt("", async () => {
    const bound = await api.get(["exchanges", vhost, name, "bindings", "source"], { page: 1, page_size: 1 });
    const yes = await sure({
      title: `Delete exchange ${name}?`,
      action: "Delete exchange",
      typed: bound.total_count > 0 ? name : undefined,
      text: bound.total_count ? `${number(bound.total_count)} bindings go with it. What is published to it then fails.` : "Nothing is bound to it.",
    });
    if (yes && (await attempt(`Exchange ${name} is deleted.`, () => api.delete(["exchanges", vhost, name])))) go("exchanges");
  });
}
