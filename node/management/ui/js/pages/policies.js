// Policies and operator policies.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { dialog, folded, form, sure } from "../form.js";
import { policyKeys } from "../known.js";
import { chosenVHost, scoped, values, vhostColumn, vhostField, withVHost } from "../parts.js";
import { may } from "../session.js";
import { dataTable } from "../table.js";
import { attempt, say } from "../toast.js";

const applyTo = ["all", "queues", "exchanges", "classic_queues", "quorum_queues"];
const kinds = [
  {
    kind: "policies",
    prefix: "",
    title: "Policies",
    one: "policy",
    about: "They set optional arguments of queues and exchanges by name.",
    change: may.makePolicies,
  },
  {
    kind: "operator-policies",
    prefix: "op_",
    title: "Operator policies",
    one: "operator policy",
    about: "They set bounds that users’ policies and arguments cannot exceed.",
    change: may.administer,
  },
];

export function policiesPage(context) {
  return adminPage(
    "policies",
    "Policies",
    kinds.map((k) => section(context, k)),
  );
}

function section(context, { kind, prefix, title, one, about, change }) {
  const fields = (p) => [
    p ? null : vhostField(),
    p ? null : { name: "name", label: "Name", required: true },
    {
      name: "pattern",
      label: "Pattern",
      required: true,
      value: p?.pattern,
      placeholder: "^orders\\.",
      help: "Regular expression that is looked for in the names.",
    },
    { name: "apply", label: "Applies to", type: "select", options: applyTo, value: p?.["apply-to"] ?? "all" },
    { name: "priority", label: "Priority", type: "number", value: p?.priority ?? 0, help: "Of those that fit, the highest counts." },
    { name: "definition", label: "Definition", type: "arguments", known: policyKeys, value: p?.definition ?? {} },
  ];
  const save = async (vhost, name, v) => {
    await api.put([kind, vhost, name], { pattern: v.pattern, "apply-to": v.apply, priority: v.priority ?? 0, definition: v.definition });
    say(`The ${one} ${name} is set.`);
    await table.refresh();
  };
  const edit = (p) =>
    dialog(
      `Change ${p.name}`,
      (close) =>
        form({
          label: `Change ${p.name}`,
          action: "Save",
          reset: false,
          fields: fields(p),
          extra: h("button", { type: "button", onclick: () => close() }, "Cancel"),
          async run(v) {
            await save(p.vhost, p.name, v);
            close();
          },
        }).element,
    );
  const clear = async (p) => {
    const yes = await sure({
      title: `Clear ${one} ${p.name}?`,
      action: "Clear",
      text: "What it set is lifted at once from all queues and exchanges that it applied to.",
    });
    if (yes && (await attempt(`The ${one} ${p.name} is cleared.`, () => api.delete([kind, p.vhost, p.name])))) await table.refresh();
  };
  const table = dataTable(context, {
    id: kind,
    prefix,
    caption: title,
    title,
    choosable: false,
    one,
    many: title.toLowerCase(),
    sort: "name",
    key: (p) => `${p.vhost}\u0000${p.name}`,
    load: (query, signal) => api.get(scoped(kind), query, signal),
    columns: withVHost([
      { id: "name", label: "Name", sort: "name", cell: (p) => h("span", { class: "name" }, p.name) },
      vhostColumn,
      { id: "pattern", label: "Pattern", sort: "pattern", cell: (p) => h("code", {}, p.pattern) },
      { id: "apply", label: "Applies to", from: "m", sort: "apply-to", cell: (p) => p["apply-to"] },
      { id: "definition", label: "Definition", from: "s", cell: (p) => values(p.definition) },
      { id: "priority", label: "Priority", num: true, from: "m", sort: "priority", cell: (p) => number(p.priority) },
      {
        id: "do",
        label: "",
        class: "tight",
        cell: (p) =>
          change()
            ? h(
                "span",
                { class: "actions" },
                h("button", { type: "button", class: "small", "aria-label": `Change ${p.name}`, onclick: () => edit(p) }, "Change"),
                h("button", { type: "button", class: "small", "aria-label": `Clear ${p.name}`, onclick: () => clear(p) }, "Clear"),
              )
            : "",
      },
    ]),
    empty: [h("p", { class: "empty-title" }, `No ${title.toLowerCase()}`), h("p", {}, about, change() ? " Add one below." : "")],
  });
  const add = change()
    ? folded(
        `Add ${one === "policy" ? "a" : "an"} ${one}`,
        form({
          label: `Add ${one}`,
          action: `Set ${one}`,
          fields: fields(null),
          run: (v) => save(chosenVHost(v), v.name, v),
        }).element,
      )
    : null;
  return h("div", { class: "stack" }, table.element, add);
}
