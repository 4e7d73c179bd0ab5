// Consumers of a queue or a channel.

import { h } from "./dom.js";
import { number } from "./format.js";
import { channelLink, queueLink, state, values } from "./parts.js";
import { plainTable } from "./table.js";

const words = { up: ["up", "good"], single_active: ["active", "good"], waiting: ["waiting its turn", ""] };

export function consumerTable(list, { queue = true } = {}) {
  if (!list.length) {
    return h(
      "div",
      { class: "empty" },
      h("p", { class: "empty-title" }, "No consumers"),
      h("p", {}, "Clients that consume show up here, with the channel that they use."),
    );
  }
  return plainTable(
    "Consumers",
    ["Consumer tag", queue ? "Queue" : "Channel", "Activity", "Acknowledges", { label: "Prefetch", num: true }, { label: "Arguments", from: "m" }],
    list.map((c) => ({
      key: `${c.channel_details.name} ${c.consumer_tag} ${c.queue.name}`,
      cells: [
        c.consumer_tag,
        queue ? queueLink(c.queue.vhost, c.queue.name) : channelLink(c.channel_details.name),
        state(...(words[c.activity_status] ?? [c.activity_status, "warn"])),
        c.ack_required ? "yes" : "no",
        c.prefetch_count ? number(c.prefetch_count) : "no limit",
        values(c.arguments),
      ],
    })),
  );
}
