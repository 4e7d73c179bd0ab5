// The bindings at one side of a queue or an exchange, and a form for a new one.

import { api } from "./api.js";
import { h } from "./dom.js";
import { folded, form, sure } from "./form.js";
import { exchangeLink, queueLink, values } from "./parts.js";
import { dataTable } from "./table.js";
import { attempt, say } from "./toast.js";

export const names = (kind, vhost) => async (text) =>
  (await api.get([kind, vhost], { page: 1, page_size: 20, name: text, columns: "name" })).items.map((o) => o.name).filter((n) => n !== "");

const objectLink = (kind, vhost, name) => (kind === "queue" ? queueLink(vhost, name) : exchangeLink(vhost, name));
const pathOf = (b) => ["bindings", b.vhost, "e", b.source || "amq.default", b.destination_type === "queue" ? "q" : "e", b.destination];

// bindingsOf shows what leads to a queue, or with kind exchange to or (from true) away from one.
export function bindingsOf(context, { vhost, name, kind, from = false }) {
  const plain = name === "" ? "amq.default" : name;
  const path = kind === "queue" ? ["queues", vhost, plain, "bindings"] : ["exchanges", vhost, plain, "bindings", from ? "source" : "destination"];
  const other = from ? "destination" : "source";
  const table = dataTable(context, {
    id: `bindings.${kind}.${from}`,
    prefix: from ? "from_" : "to_",
    caption: from ? `Bindings from ${name || "the default exchange"}` : `Bindings to ${name}`,
    title: from ? "Where messages go from here" : "Where messages come from",
    one: "binding",
    key: (b) => `${b.source}\u0000${b.destination_type}\u0000${b.destination}\u0000${b.properties_key}`,
    load: (query, signal) => api.get(path, query, signal),
    columns: [
      {
        id: "other",
        label: from ? "To" : "From exchange",
        sort: other,
        cell: (b) => [
          objectLink(from ? b.destination_type : "exchange", b.vhost, b[other]),
          from ? h("span", { class: "vhost" }, b.destination_type) : null,
        ],
      },
      {
        id: "key",
        label: "Routing key",
        sort: "routing_key",
        cell: (b) => (b.routing_key ? h("code", {}, b.routing_key) : h("span", { class: "zero" }, "(empty)")),
      },
      { id: "args", label: "Arguments", from: "m", cell: (b) => values(b.arguments) },
      {
        id: "do",
        label: "",
        class: "tight",
        cell: (b) =>
          b.source === ""
            ? h("span", { class: "muted" }, "always there")
            : h(
                "button",
                {
                  type: "button",
                  class: "small",
                  onclick: () => unbind(b),
                  "aria-label": `Unbind ${b.source} from ${b.destination}, key ${b.routing_key}`,
                },
                "Unbind",
              ),
      },
    ],
    empty: [
      h("p", { class: "empty-title" }, "No bindings"),
      h(
        "p",
        {},
        from
          ? "What is published here goes nowhere. Bind a queue below."
          : "Bind it to an exchange below, or publish to it through the default exchange.",
      ),
    ],
  });

  async function unbind(b) {
    const yes = await sure({
      title: "Remove this binding?",
      action: "Unbind",
      text: `${b.source || "(default)"} → ${b.destination}${b.routing_key ? `, routing key ${b.routing_key}` : ""}`,
    });
    if (yes && (await attempt("The binding is removed.", () => api.delete([...pathOf(b), b.properties_key])))) await table.refresh();
  }

  const bind =
    kind === "exchange" && name === ""
      ? null
      : form({
          label: "Add a binding",
          action: "Bind",
          fields: [
            from ? { name: "type", label: "To a", type: "select", options: ["queue", "exchange"], value: "queue" } : null,
            from
              ? {
                  name: "other",
                  label: "Name",
                  required: true,
                  list: (text) => names(bind.fields.type.read() === "queue" ? "queues" : "exchanges", vhost)(text),
                }
              : { name: "other", label: "From exchange", required: true, list: names("exchanges", vhost) },
            { name: "key", label: "Routing key", maxlength: 255 },
            {
              name: "args",
              label: "Arguments",
              type: "arguments",
              known: [{ name: "x-match", help: "of headers exchanges: all or any headers have to match", value: "all" }],
            },
          ],
          async run(v) {
            const ends = from
              ? { source: name, destination: v.other, destination_type: v.type }
              : { source: v.other, destination: name, destination_type: kind };
            await api.post(pathOf({ vhost, ...ends }), { routing_key: v.key, arguments: v.args });
            say("The binding is there.");
            await table.refresh();
          },
        });
  return h("div", { class: "stack" }, table.element, bind ? folded("Add a binding", bind.element) : null);
}
