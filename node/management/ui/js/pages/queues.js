// All queues, and a form for a new one.

import { api } from "../api.js";
import { h } from "../dom.js";
import { bytes, rate } from "../format.js";
import { folded, form } from "../form.js";
import { chosenVHost, count, features, queueLink, scoped, vhostColumn, vhostField, withVHost } from "../parts.js";
import { queueArguments } from "../known.js";
import { session } from "../session.js";
import { dataTable } from "../table.js";
import { say } from "../toast.js";

const perSecond = (name) => ({
  sort: `message_stats.${name}_details.rate`,
  num: true,
  cell: (q) => rateCell(q.message_stats?.[`${name}_details`]?.rate),
});
const rateCell = (n) => (n ? rate(n) : h("span", { class: "zero" }, "0/s"));

const queueColumns = [
  { id: "name", label: "Name", sort: "name", cell: (q) => queueLink(q.vhost, q.name), needs: [] },
  vhostColumn,
  {
    id: "features",
    label: "Features",
    from: "m",
    cell: features,
    needs: ["type", "durable", "auto_delete", "exclusive", "arguments", "policy", "operator_policy", "effective_policy_definition"],
  },
  { id: "ready", label: "Ready", sort: "messages_ready", num: true, cell: (q) => count(q.messages_ready) },
  {
    id: "unacked",
    label: "Unacked",
    sort: "messages_unacknowledged",
    num: true,
    from: "s",
    title: "given to consumers and not acknowledged yet",
    cell: (q) => count(q.messages_unacknowledged),
  },
  { id: "total", label: "Total", sort: "messages", num: true, from: "m", cell: (q) => count(q.messages) },
  {
    id: "parked",
    label: "Parked",
    sort: "messages_parked",
    num: true,
    from: "l",
    off: true,
    title: "above the delivery limit",
    cell: (q) => count(q.messages_parked),
  },
  {
    id: "delayed",
    label: "Delayed",
    sort: "messages_delayed",
    num: true,
    from: "l",
    off: true,
    title: "wait before they are tried again",
    cell: (q) => count(q.messages_delayed),
  },
  { id: "bytes", label: "Size", sort: "message_bytes", num: true, from: "l", off: true, cell: (q) => bytes(q.message_bytes) },
  { id: "in", label: "In", from: "s", title: "messages that came in a second", ...perSecond("publish") },
  { id: "out", label: "Out", from: "m", title: "messages that were delivered in a second", ...perSecond("deliver_get") },
  { id: "ack", label: "Acked", from: "m", title: "messages that were acknowledged in a second", ...perSecond("ack") },
  { id: "consumers", label: "Consumers", sort: "consumers", num: true, from: "l", cell: (q) => count(q.consumers) },
];

export function queuesPage(context) {
  const table = dataTable(context, {
    id: "queues",
    caption: "Queues",
    columns: withVHost(queueColumns),
    sort: "name",
    filter: "Filter queues by name",
    one: "queue",
    needs: ["name", "vhost"],
    key: (q) => `${q.vhost}\u0000${q.name}`,
    load: (query, signal) => api.get(scoped("queues"), query, signal),
    empty: [
      h("p", { class: "empty-title" }, "No queues yet"),
      h("p", {}, "Clients declare the queues that they need. You can also declare one below, and then publish to it from its page."),
    ],
  });
  const declare = form({
    label: "Declare a queue",
    action: "Declare queue",
    fields: [
      vhostField(),
      { name: "name", label: "Name", required: true, maxlength: 255 },
      {
        name: "type",
        label: "Type",
        type: "select",
        options: [{ value: "", label: "Default of the virtual host" }, "classic", "quorum"],
        value: "",
        help: "Every queue is replicated to all nodes; the type is what clients see.",
      },
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
      { name: "autoDelete", label: "Auto-delete", type: "checkbox", help: "Delete it when its last consumer has gone." },
      { name: "args", label: "Arguments", type: "arguments", known: queueArguments },
    ],
    async run(v) {
      const args = v.type ? { "x-queue-type": v.type, ...v.args } : v.args;
      await api.put(["queues", chosenVHost(v), v.name], { durable: v.durability === "durable", auto_delete: v.autoDelete, arguments: args });
      say(`Queue ${v.name} is declared.`);
      await table.refresh();
    },
  });
  return {
    title: "Queues",
    about: session.vhost === null ? null : `In virtual host ${session.vhost}`,
    body: [table.element, folded("Declare a queue", declare.element)],
  };
}
