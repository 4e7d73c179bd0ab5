// Getting messages from a queue, as a client would.

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { form, sure } from "./form.js";
import { messageTable } from "./messages.js";
import { plural } from "./format.js";

const modes = [
  { value: "ack_requeue_true", label: "Put them back (they are marked redelivered)" },
  { value: "ack_requeue_false", label: "Acknowledge: take them out for good" },
  { value: "reject_requeue_true", label: "Reject, and put them back" },
  { value: "reject_requeue_false", label: "Reject: discard or dead-letter them" },
];

export function getPart({ vhost, name }) {
  const result = h("div", { class: "stack" });
  const said = h("p", { class: "hide", role: "status" });
  const made = form({
    label: "Get messages",
    action: "Get messages",
    reset: false,
    fields: [
      { name: "mode", label: "Then", type: "select", options: modes, value: "ack_requeue_true" },
      { name: "count", label: "How many", type: "number", min: 1, max: 1000, value: 1, required: true },
      {
        name: "encoding",
        label: "Show payload as",
        type: "select",
        options: [
          { value: "auto", label: "Text, where it is" },
          { value: "base64", label: "Base64" },
        ],
        value: "auto",
      },
    ],
    async run(v) {
      const gone = v.mode.endsWith("false");
      if (
        gone &&
        !(await sure({
          title: "Take messages out of the queue?",
          action: v.mode.startsWith("ack") ? "Acknowledge them" : "Reject them",
          text: `Up to ${plural(v.count, "message")} will leave ${name}. “Messages” shows them without taking them.`,
        }))
      )
        return;
      const list = await api.post(["queues", vhost, name, "get"], { count: v.count, ackmode: v.mode, encoding: v.encoding, truncate: 50_000 });
      said.textContent = plural(list.length, "message");
      fill(result, list.length ? messageTable(list) : h("p", { class: "muted" }, "The queue had no message that is ready."));
    },
  });
  return h(
    "div",
    { class: "stack" },
    h("p", { class: "muted" }, "This takes messages as a client does. To look without touching anything, use “Messages”."),
    made.element,
    result,
    said,
  );
}
