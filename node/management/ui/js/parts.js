// Small pieces that several pages show.

import { h } from "./dom.js";
import { link } from "./router.js";
import { session } from "./session.js";
import { exact, isDate, moment, number, valueText } from "./format.js";

export const time = (ms) => (ms && isDate(ms) ? h("time", { datetime: new Date(ms).toISOString(), title: exact(ms) }, moment(ms)) : "–");

export const badge = (text, { kind = "", title } = {}) => h("span", { class: `badge ${kind}`, title }, text);

// state is a word with a sign of how good it is, for those too who do not see colours.
export const state = (text, kind) => h("span", { class: `state ${kind}` }, h("span", { class: `pip ${kind}`, "aria-hidden": "true" }), text);

export const queueLink = (vhost, name) => h("a", { href: link("queues", vhost, name), class: "name" }, name);
export const exchangeLink = (vhost, name) =>
  h("a", { href: link("exchanges", vhost, name || "amq.default"), class: "name" }, name || "(default exchange)");
export const connectionLink = (name) => (name ? h("a", { href: link("connections", name), class: "name" }, name) : "–");
export const channelLink = (name, text = name) => (name ? h("a", { href: link("channels", name), class: "name" }, text) : "–");

// vhostColumn is shown where the vhosts that are looked at are more than one.
export const vhostColumn = {
  id: "vhost",
  label: "Virtual host",
  sort: "vhost",
  from: "s",
  cell: (o) => h("span", { class: "muted" }, o.vhost),
  needs: [],
};
export const withVHost = (columns) => (session.vhost === null && session.vhosts.length > 1 ? columns : columns.filter((c) => c !== vhostColumn));

// zero is a number that stands back when it is 0.
export const count = (n) => (n ? number(n) : h("span", { class: "zero" }, typeof n === "number" ? "0" : "–"));

// table of names and values, on one line each.
export const values = (o) => {
  const all = Object.entries(o ?? {});
  return all.length
    ? h(
        "ul",
        { class: "values" },
        all.map(([k, v]) => h("li", {}, h("code", {}, k), " ", h("span", {}, valueText(v)))),
      )
    : h("span", { class: "zero" }, "none");
};

export const card = (title, ...content) => h("section", { class: "card" }, title ? h("h2", {}, title) : null, content);

// scoped is the part of a path for the vhost that is chosen.
export const scoped = (kind) => (session.vhost === null ? [kind] : [kind, session.vhost]);

// theVHost is where something new is put when no vhost is chosen.
export const vhostField = () =>
  session.vhost !== null
    ? null
    : {
        name: "vhost",
        label: "Virtual host",
        type: "select",
        options: session.vhosts,
        value: session.vhosts.includes("/") ? "/" : session.vhosts[0],
      };
export const chosenVHost = (v) => v.vhost ?? session.vhost;

// features are what an object is, in short, as badges with what they mean.
export function features(o) {
  const a = o.arguments ?? {};
  const p = o.effective_policy_definition ?? {};
  const list = [];
  const add = (text, title, kind) => list.push(badge(text, { title, kind }), " ");
  if (o.type === "quorum" || o.type === "stream") add(o.type, `declared as a ${o.type} queue`);
  if (o.durable) add("D", "durable");
  if (o.auto_delete) add("AD", "is deleted when nobody uses it any more");
  if (o.exclusive) add("Excl", "exclusive: of one connection only");
  if (o.internal) add("I", "internal: clients may not publish to it");
  for (const [short, argument, policy, about] of shown) {
    const v = a[argument] ?? p[policy];
    if (v !== undefined) add(short, `${about}: ${valueText(v)}`);
  }
  if (o.policy) add(o.policy, `policy ${o.policy}: ${JSON.stringify(p)}`, "policy");
  if (o.operator_policy) add(o.operator_policy, `operator policy ${o.operator_policy}`, "policy");
  return h("span", { class: "badges" }, list.slice(0, -1));
}

const shown = [
  ["TTL", "x-message-ttl", "message-ttl", "messages expire after (ms)"],
  ["Exp", "x-expires", "expires", "deleted when unused for (ms)"],
  ["Lim", "x-max-length", "max-length", "most messages"],
  ["Lim B", "x-max-length-bytes", "max-length-bytes", "most bytes"],
  ["Ovfl", "x-overflow", "overflow", "when full"],
  ["DLX", "x-dead-letter-exchange", "dead-letter-exchange", "dead letters go to exchange"],
  ["DLK", "x-dead-letter-routing-key", "dead-letter-routing-key", "routing key of dead letters"],
  ["Pri", "x-max-priority", "max-priority", "priorities up to"],
  ["SAC", "x-single-active-consumer", "single-active-consumer", "single active consumer"],
  ["Dlv", "x-delivery-limit", "delivery-limit", "delivery limit"],
  ["Retry", "x-delayed-retry-type", "delayed-retry-type", "delayed retry of"],
  ["AE", "alternate-exchange", "alternate-exchange", "what is not routed goes to"],
  ["Dedup", "x-message-deduplication", "message-deduplication", "repeated messages are dropped"],
  ["Args", "x-consumer-timeout", "consumer-timeout", "acknowledgement timeout (ms)"],
];

// tabs are the pages of one object.
export const tabs = (label, list, current) =>
  h(
    "nav",
    { class: "tabs", "aria-label": label },
    h(
      "ul",
      {},
      list.map(([id, text, href]) => h("li", {}, h("a", { href, "aria-current": id === current ? "page" : null }, text))),
    ),
  );
