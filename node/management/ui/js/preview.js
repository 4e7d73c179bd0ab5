// Where a message would go, and why. Nothing is published.

import { api } from "./api.js";
import { names } from "./bindings.js";
import { fill, h } from "./dom.js";
import { plural } from "./format.js";
import { form } from "./form.js";
import { icon } from "./icons.js";
import { badge, card, chosenVHost, exchangeLink, queueLink, values, vhostField } from "./parts.js";

const reasons = {
  binding: "a binding matches",
  default: "the default exchange gives to the queue of that name",
  alternate: "nothing matched, so it goes to the alternate exchange",
  chance: "the exchange chooses one of several for each message",
};

// routePreview is the form and its answer; without an exchange it is asked for.
export function routePreview(context, { vhost = null, exchange = null } = {}) {
  const result = h("div", { class: "stack", "aria-live": "polite" });
  const place = () => vhost ?? chosenVHost({ vhost: made.fields.vhost?.read() });
  const made = form({
    label: "Route preview",
    action: "Show the way",
    reset: false,
    fields: [
      vhost === null ? vhostField() : null,
      exchange === null
        ? {
            name: "exchange",
            label: "Exchange",
            help: "Leave empty for the default exchange.",
            value: context.query.get("exchange") ?? "",
            list: (text) => names("exchanges", place())(text),
          }
        : null,
      { name: "key", label: "Routing key", value: context.query.get("key") ?? "", maxlength: 255 },
      { name: "headers", label: "Headers", type: "arguments", known: [{ name: "CC", kind: "JSON", help: "further routing keys", value: '["key"]' }] },
    ],
    async run(v) {
      const at = exchange ?? v.exchange ?? "";
      const properties = Object.keys(v.headers).length ? { headers: v.headers } : {};
      const way = await api.post(["exchanges", place(), at || "amq.default", "route"], { routing_key: v.key, properties });
      draw(way, at === "amq.default" ? "" : at, v.key);
    },
  });

  function draw({ queues, hops, truncated }, at, key) {
    fill(
      result,
      card(
        queues.length ? `${plural(queues.length, "queue gets", "queues get")} it` : "No queue gets it",
        queues.length
          ? h(
              "ul",
              { class: "badges" },
              queues.map((q) => h("li", {}, queueLink(place(), q.name), q.certain ? null : [" ", badge("by chance", { kind: "warn" })])),
            )
          : h(
              "p",
              { class: "muted" },
              `A message with the key “${key}” that is published to ${at || "the default exchange"} would be returned or dropped. Bind a queue, or set an alternate exchange.`,
            ),
      ),
      hops.length
        ? card(
            "Step by step",
            h("ol", { class: "steps" }, hops.map(step)),
            truncated ? h("p", { class: "note" }, "There are more steps than are shown.") : null,
          )
        : null,
    );
  }

  const step = (b) =>
    h(
      "li",
      { class: "step" },
      exchangeLink(b.vhost, b.source),
      icon("right"),
      h("span", { class: "hide" }, "to"),
      b.destination_type === "queue" ? queueLink(b.vhost, b.destination) : exchangeLink(b.vhost, b.destination),
      badge(b.destination_type),
      b.routing_key !== "" ? h("code", {}, b.routing_key) : null,
      Object.keys(b.arguments ?? {}).length ? values(b.arguments) : null,
      h("span", { class: "why" }, reasons[b.why] ?? b.why),
    );

  return h(
    "div",
    { class: "stack" },
    card(null, h("p", { class: "muted" }, "Tells which queues a message would get into, and by which bindings. Nothing is published."), made.element),
    result,
  );
}
