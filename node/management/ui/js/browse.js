// Looking at the messages of a queue, page by page, without taking them.

import { api } from "./api.js";
import { fill, h } from "./dom.js";
import { number, plural } from "./format.js";
import { field, form } from "./form.js";
import { filterFields, filterOf } from "./filter.js";
import { icon } from "./icons.js";
import { messageTable } from "./messages.js";

const states = ["ready", "unacknowledged", "delayed", "parked"];
const units = [
  { value: 1, label: "seconds" },
  { value: 60, label: "minutes" },
  { value: 3600, label: "hours" },
  { value: 86400, label: "days" },
];

export function browser(context) {
  const { vhost, name } = context.params;
  const path = ["queues", vhost, name, "messages"];
  const result = h("section", { class: "card flush" });
  const said = h("p", { class: "hide", role: "status" });
  let asked = {};
  let starts = [""]; // where the pages begin that were seen, the last of which is shown

  const look = form({
    label: "Which messages to show",
    action: "Show messages",
    reset: false,
    fields: [
      { name: "state", label: "State", type: "select", options: [{ value: "", label: "All" }, ...states], value: "" },
      { name: "count", label: "On a page", type: "select", options: ["20", "50", "200"], value: "50" },
      ...filterFields(),
      {
        name: "older",
        label: "Older than",
        type: "number",
        min: 0,
        step: "any",
        help: "By the timestamp that publishers set. Messages without one are left out.",
      },
      { name: "unit", label: "Unit of age", type: "select", options: units, value: 60 },
      { name: "younger", label: "Younger than", type: "number", min: 0, step: "any" },
    ].map((f) => (f.read ? f : field(f))),
    async run(v) {
      const filter = filterOf(v);
      asked = {
        state: v.state,
        count: v.count,
        exchange: filter.exchange,
        routing_key: filter.routing_key,
        headers: filter.headers ? JSON.stringify(filter.headers) : "",
        min_age: v.older === null ? "" : v.older * v.unit,
        max_age: v.younger === null ? "" : v.younger * v.unit,
      };
      starts = [""];
      await show();
    },
  });

  const load = (signal) => api.get(path, { ...asked, from: starts.at(-1), truncate: 1024 }, signal);

  // whole fetches one message with up to a mebibyte of its payload.
  async function whole(m) {
    const { messages } = await api.get(path, { from: m.sequence, count: 1, truncate: 1 << 20 });
    if (messages[0]?.sequence !== m.sequence) throw new Error("The message has left the queue.");
    return messages[0];
  }

  async function show() {
    draw(await load());
  }
  const turn = async (change) => {
    const before = [...starts];
    change();
    try {
      await show();
    } catch (e) {
      starts = before;
      context.problem(e);
    }
  };

  function draw({ messages, next }) {
    context.problem(null);
    const first = starts.length === 1;
    said.textContent = `${plural(messages.length, "message")} shown, page ${starts.length}`;
    fill(
      result,
      h(
        "header",
        { class: "card-head" },
        h("h2", {}, messages.length ? `Messages, page ${number(starts.length)}` : "Messages"),
        h(
          "div",
          { class: "pager" },
          h("button", { type: "button", class: "small", onclick: () => turn(() => {}) }, "Look again"),
          h(
            "button",
            {
              type: "button",
              class: "small",
              disabled: first,
              onclick: () =>
                turn(() => {
                  starts = [""];
                }),
            },
            "First",
          ),
          h("button", { type: "button", class: "small", disabled: first, onclick: () => turn(() => starts.pop()) }, "Back"),
          h("button", { type: "button", class: "small", disabled: next === null, onclick: () => turn(() => starts.push(next)) }, "Next"),
        ),
      ),
      messages.length
        ? messageTable(messages, { browsed: true, whole })
        : h(
            "div",
            { class: "empty" },
            h("p", { class: "empty-title" }, next ? "None among those looked at so far" : "No such messages"),
            h("p", {}, next ? "The queue is long: go on with “Next”." : "The queue has none, or none that is like what you ask for."),
          ),
      h(
        "div",
        { class: "table-foot" },
        `${plural(messages.length, "message")} on this page. Looking takes nothing: order, redelivered flags and counters stay as they are.`,
      ),
    );
  }

  show().catch((e) => context.problem(e));
  return h(
    "div",
    { class: "stack" },
    h("details", { class: "card fold" }, h("summary", {}, icon("plus"), h("h2", {}, "Filter")), h("div", { class: "fold-body" }, look.element)),
    result,
    said,
  );
}
