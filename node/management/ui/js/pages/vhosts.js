// Virtual hosts.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { number, rate } from "../format.js";
import { folded, form, sure } from "../form.js";
import { badge, card, count, state, values } from "../parts.js";
import { go, link } from "../router.js";
import { session, setVHosts } from "../session.js";
import { dataTable, facts } from "../table.js";
import { attempt, say } from "../toast.js";

const types = [{ value: "", label: "Of the cluster" }, "classic", "quorum"];
const isTrue = (v) => v === true;

export function vhostsPage(context) {
  const table = dataTable(context, {
    id: "vhosts",
    caption: "Virtual hosts",
    sort: "name",
    filter: "Filter virtual hosts by name",
    one: "virtual host",
    key: (v) => v.name,
    load: (query, signal) => api.get(["vhosts"], query, signal),
    columns: [
      { id: "name", label: "Name", sort: "name", cell: (v) => h("a", { href: link("admin", "vhosts", v.name), class: "name" }, v.name) },
      { id: "about", label: "Description", from: "m", cell: (v) => v.description || h("span", { class: "zero" }, "–") },
      {
        id: "tags",
        label: "Tags",
        from: "l",
        cell: (v) =>
          h(
            "span",
            { class: "badges" },
            v.tags.map((t) => badge(t)),
            v.protected_from_deletion ? badge("protected", { kind: "accent" }) : null,
            v.tracing ? badge("traced", { kind: "warn", title: "copies of all messages go to amq.rabbitmq.trace" }) : null,
          ),
      },
      {
        id: "state",
        label: "State",
        from: "s",
        cell: (v) => {
          const all = Object.values(v.cluster_state);
          return state(all.length && all.every((s) => s === "running") ? "running" : "partly", all.length ? "good" : "warn");
        },
      },
      { id: "ready", label: "Ready", num: true, sort: "messages_ready", cell: (v) => count(v.messages_ready) },
      { id: "unacked", label: "Unacked", num: true, sort: "messages_unacknowledged", from: "s", cell: (v) => count(v.messages_unacknowledged) },
      { id: "in", label: "In", num: true, from: "m", cell: (v) => rate(v.message_stats.publish_details.rate) },
      { id: "out", label: "Out", num: true, from: "m", cell: (v) => rate(v.message_stats.deliver_get_details.rate) },
    ],
    empty: [h("p", { class: "empty-title" }, "No virtual hosts"), h("p", {}, "Add one below: clients cannot log in without.")],
  });
  const add = form({
    label: "Add a virtual host",
    action: "Add virtual host",
    fields: [
      { name: "name", label: "Name", required: true, maxlength: 255 },
      { name: "description", label: "Description" },
      { name: "tags", label: "Tags", help: "Separated by commas." },
      { name: "type", label: "Queue type by default", type: "select", options: types, value: "" },
    ],
    async run(v) {
      await api.put(["vhosts", v.name], { description: v.description, tags: v.tags, default_queue_type: v.type });
      setVHosts((await api.get(["vhosts"], { columns: "name" })).map((o) => o.name));
      say(`Virtual host ${v.name} is there, and you may use it.`);
      await table.refresh();
    },
  });
  return adminPage("vhosts", "Virtual hosts", [table.element, folded("Add a virtual host", add.element)]);
}

export function vhostPage(context) {
  const { name } = context.params;
  const about = h("div", { class: "stack" });
  context.live(
    async (signal) => {
      const [vhost, permissions, limits] = await Promise.all([
        api.get(["vhosts", name], {}, signal),
        api.get(["vhosts", name, "permissions"], {}, signal),
        api.get(["vhost-limits", name], {}, signal),
      ]);
      return { vhost, permissions, limits };
    },
    ({ vhost: v, permissions, limits }) =>
      fill(
        about,
        card(
          null,
          facts([
            ["Description", v.description || "–"],
            ["Tags", v.tags.join(", ") || "none"],
            ["Queue type by default", v.default_queue_type],
            ["Protected from deletion", v.protected_from_deletion ? "yes" : "no"],
            ["Tracing", v.tracing ? "copies of all messages go to amq.rabbitmq.trace" : "off"],
            ["Runs on", Object.keys(v.cluster_state).join(", ")],
            ["Messages", `${number(v.messages_ready)} ready, ${number(v.messages_unacknowledged)} unacknowledged`],
            ["Users", permissions.map((p) => p.user).join(", ") || "none"],
          ]),
        ),
        card("Limits", values(limits[0]?.value)),
      ),
  );

  const change = h("div", {});
  api
    .get(["vhosts", name])
    .then((v) =>
      fill(
        change,
        card(
          "Change",
          form({
            label: "Change the virtual host",
            action: "Save",
            reset: false,
            fields: [
              { name: "description", label: "Description", value: v.description },
              { name: "tags", label: "Tags", value: v.tags.join(", "), help: "Separated by commas." },
              { name: "type", label: "Queue type by default", type: "select", options: types, value: v.metadata.default_queue_type },
              { name: "protect", label: "Protected from deletion", type: "checkbox", value: isTrue(v.protected_from_deletion) },
              {
                name: "tracing",
                label: "Tracing",
                type: "checkbox",
                value: isTrue(v.tracing),
                help: "A copy of every message that comes or goes is published to the exchange amq.rabbitmq.trace.",
              },
            ],
            async run(o) {
              await api.put(["vhosts", name], {
                description: o.description,
                tags: o.tags,
                default_queue_type: o.type,
                protected_from_deletion: o.protect,
                tracing: o.tracing,
              });
              say("The virtual host is saved.");
              await context.refresh();
            },
          }).element,
        ),
      ),
    )
    .catch((e) => context.problem(e));

  return adminPage("vhosts", name, [about, change], {
    about: "Virtual host",
    crumbs: [["Virtual hosts", link("admin", "vhosts")]],
    actions: h("button", { type: "button", class: "danger-line", onclick: () => remove(name) }, "Delete"),
  });
}

async function remove(name) {
  const yes = await sure({
    title: `Delete virtual host ${name}?`,
    action: "Delete virtual host",
    typed: name,
    text: "All its queues, messages, exchanges and permissions go with it, and its connections are closed.",
  });
  if (!yes || !(await attempt(`Virtual host ${name} is deleted.`, () => api.delete(["vhosts", name])))) return;
  setVHosts(session.vhosts.filter((v) => v !== name));
  go("admin", "vhosts");
}
