// The form of a shovel. A parameter has RabbitMQ's keys; what the form has no field for is kept and can be changed as JSON.

import { api } from "./api.js";
import { form } from "./form.js";
import { placeField } from "./pages/users.js";
import { say } from "./toast.js";

// older are keys that stand for both ends or for the source, by their present names.
const older = {
  "src-prefetch-count": "prefetch-count",
  "src-delete-after": "delete-after",
  "dest-add-forward-headers": "add-forward-headers",
  "dest-add-timestamp-header": "add-timestamp-header",
};

const uris = (v) => [v ?? "amqp://"].flat().join("\n");
const urisOf = (text, what) => {
  const all = text.split(/\s+/).filter(Boolean);
  if (!all.length) throw new Error(`${what}: give at least one URI.`);
  return all.length === 1 ? all[0] : all;
};

const uriHelp =
  "amqp:// is this cluster; amqp://user:password@host/vhost another broker. Of several, one on a line, the next is tried when one fails.";

// endFields are the fields of one end; came: it may also be the exchange through which a message came.
function endFields(end, title, value, came) {
  const exchange = value[`${end}-exchange`];
  const kind = exchange !== undefined ? "exchange" : came && value[`${end}-queue`] === undefined && value[`${end}-uri`] !== undefined ? "" : "queue";
  return [
    { group: title },
    { name: `${end}URI`, label: `${title}: broker`, type: "textarea", rows: 2, required: true, value: uris(value[`${end}-uri`]), help: uriHelp },
    {
      name: `${end}Kind`,
      label: `${title}: a queue or an exchange`,
      type: "select",
      options: [
        { value: "queue", label: "A queue" },
        { value: "exchange", label: "An exchange" },
        ...(came ? [{ value: "", label: "The exchange that it came through" }] : []),
      ],
      value: kind,
    },
    {
      name: `${end}Name`,
      label: `${title}: its name`,
      value: exchange ?? value[`${end}-queue`],
      help: "A queue that is missing is declared, as a durable one.",
    },
    {
      name: `${end}Key`,
      label: `${title}: routing key`,
      value: value[`${end}-exchange-key`],
      help: came ? "Of an exchange. Empty: each message’s own." : "Of an exchange: what a queue is bound with.",
    },
  ];
}

// putEnd sets the keys of an end from its fields.
function putEnd(o, end, title, v) {
  o[`${end}-uri`] = urisOf(v[`${end}URI`], title);
  const kind = v[`${end}Kind`];
  const name = v[`${end}Name`];
  if (kind === "queue" && name === "") throw new Error(`${title}: name the queue.`);
  if (kind !== "") o[`${end}-${kind}`] = name;
  if (kind !== "queue" && v[`${end}Key`] !== "") o[`${end}-exchange-key`] = v[`${end}Key`];
}

// after is when a shovel ends, as its key has it.
function after(text) {
  if (text === "" || text === "never") return undefined;
  if (text === "queue-length") return text;
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error("End after: give a number of messages, queue-length, or never.");
}

// shovelForm sets a shovel, or with a name changes the one whose value is given. done is called when it is set.
export function shovelForm({ label, action, vhost, name, value: given = {}, done }) {
  const value = { ...given };
  for (const [now, before] of Object.entries(older)) if (value[now] === undefined && value[before] !== undefined) value[now] = value[before];
  const fresh = name === undefined;
  const fields = [
    fresh ? { ...placeField(), help: "The shovel belongs to it; amqp:// alone leads to it." } : null,
    fresh ? { name: "name", label: "Name", required: true, maxlength: 255 } : null,
    ...endFields("src", "From", value, false),
    ...endFields("dest", "To", value, true),
    { group: "How" },
    {
      name: "ack",
      label: "Acknowledge at the source",
      type: "select",
      options: [
        { value: "on-confirm", label: "When the destination has confirmed it" },
        { value: "on-publish", label: "When it is sent" },
        { value: "no-ack", label: "At once (may lose messages)" },
      ],
      value: value["ack-mode"] ?? "on-confirm",
    },
    {
      name: "after",
      label: "End after",
      value: String(value["src-delete-after"] ?? "never"),
      list: ["never", "queue-length"],
      help: "never, a number of messages, or queue-length: as many as the queue holds when it starts.",
    },
    { name: "prefetch", label: "Prefetch", type: "number", min: 1, max: 65535, value: value["src-prefetch-count"], help: "1000 if empty." },
    {
      name: "delay",
      label: "Seconds before it connects again",
      type: "number",
      min: 0,
      step: "any",
      value: value["reconnect-delay"],
      help: "5 if empty.",
    },
    { name: "headers", label: "Say in x-shovelled where messages came from", type: "checkbox", value: value["dest-add-forward-headers"] },
    { name: "stamp", label: "Say in x-shovelled-timestamp when", type: "checkbox", value: value["dest-add-timestamp-header"] },
    {
      name: "rest",
      label: "Other keys",
      type: "arguments",
      value: rest(value),
      help: "As of RabbitMQ’s shovels: dest-publish-properties, src-queue-args …",
    },
  ];
  return form({
    label,
    action,
    reset: fresh,
    fields,
    async run(v) {
      const o = { ...v.rest };
      putEnd(o, "src", "From", v);
      putEnd(o, "dest", "To", v);
      o["ack-mode"] = v.ack;
      const number = { "src-delete-after": after(v.after), "src-prefetch-count": v.prefetch, "reconnect-delay": v.delay };
      for (const [key, n] of Object.entries(number)) if (n !== undefined && n !== null) o[key] = n;
      if (v.headers) o["dest-add-forward-headers"] = true;
      if (v.stamp) o["dest-add-timestamp-header"] = true;
      await api.put(["parameters", "shovel", vhost ?? v.vhost, name ?? v.name], { value: o });
      say(`Shovel ${name ?? v.name} is ${fresh ? "set" : "changed"}, and connects.`);
      await done();
    },
  });
}

// rest are the keys that have no field.
function rest(value) {
  const ends = ["uri", "queue", "exchange", "exchange-key"].flatMap((k) => [`src-${k}`, `dest-${k}`]);
  const known = new Set([...ends, ...Object.keys(older), ...Object.values(older), "ack-mode", "reconnect-delay"]);
  return Object.fromEntries(Object.entries(value).filter(([k]) => !known.has(k)));
}
