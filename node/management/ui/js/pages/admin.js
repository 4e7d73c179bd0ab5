// The rest of administration: parameters, definitions, settings.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes } from "../format.js";
import { field, folded, form, parseJSON, sure } from "../form.js";
import { card } from "../parts.js";
import { link } from "../router.js";
import { may, session, setVHosts } from "../session.js";
import { plainTable } from "../table.js";
import { attempt, say } from "../toast.js";

export function adminHome() {
  queueMicrotask(() => location.replace(link("admin", may.administer() ? "users" : "policies"))); // Back leads past it
  return { title: "Admin", body: [] };
}

const json = (v) => h("pre", {}, JSON.stringify(v, null, 1));

// elsewhere are components whose parameters have pages of their own.
const elsewhere = new Set(["vhost-limits", "operator_policy", "policy", "shovel"]);

export function parametersPage(context) {
  const about = h("div", { class: "stack" });
  const remove = async (what, path) => {
    const yes = await sure({ title: `Clear parameter ${what}?`, action: "Clear", text: "What it set up ends." });
    if (yes && (await attempt("The parameter is cleared.", () => api.delete(path)))) await context.refresh();
  };
  const clearButton = (what, path) =>
    h("button", { type: "button", class: "small", "aria-label": `Clear ${what}`, onclick: () => remove(what, path) }, "Clear");
  context.live(
    async (signal) => {
      const [own, global] = await Promise.all([api.get(["parameters"], {}, signal), api.get(["global-parameters"], {}, signal)]);
      return { own: own.filter((p) => (session.vhost === null || p.vhost === session.vhost) && !elsewhere.has(p.component)), global };
    },
    ({ own, global }) =>
      fill(
        about,
        h(
          "section",
          { class: "card flush" },
          h("header", { class: "card-head" }, h("h2", {}, "Parameters of virtual hosts")),
          own.length === 0
            ? h(
                "div",
                { class: "empty" },
                h("p", {}, "None. Those of federation would be here; shovels, limits and policies have pages of their own."),
              )
            : plainTable(
                "Parameters",
                ["Component", "Virtual host", "Name", { label: "Value", from: "s" }, ""],
                own.map((p) => ({
                  key: `${p.component}\u0000${p.vhost}\u0000${p.name}`,
                  cells: [p.component, p.vhost, p.name, json(p.value), clearButton(p.name, ["parameters", p.component, p.vhost, p.name])],
                })),
              ),
        ),
        h(
          "section",
          { class: "card flush" },
          h("header", { class: "card-head" }, h("h2", {}, "Global parameters")),
          plainTable(
            "Global parameters",
            ["Name", "Value", ""],
            global.map((p) => ({
              key: p.name,
              cells: [
                p.name,
                json(p.value),
                may.administer() && !p.name.startsWith("internal_") ? clearButton(p.name, ["global-parameters", p.name]) : "",
              ],
            })),
          ),
        ),
      ),
  );
  const valueField = { name: "value", label: "Value (JSON)", type: "textarea", required: true };
  const set = form({
    label: "Set a parameter",
    action: "Set parameter",
    fields: [
      { name: "component", label: "Component", required: true },
      { name: "vhost", label: "Virtual host", type: "select", options: session.vhosts, value: session.vhost ?? session.vhosts[0] },
      { name: "name", label: "Name", required: true },
      valueField,
    ],
    async run(v) {
      await api.put(["parameters", v.component, v.vhost, v.name], { value: parseJSON(v.value, "The value") });
      say("The parameter is set.");
      await context.refresh();
    },
  });
  const setGlobal = form({
    label: "Set a global parameter",
    action: "Set parameter",
    fields: [{ name: "name", label: "Name", required: true }, valueField],
    async run(v) {
      await api.put(["global-parameters", v.name], { value: parseJSON(v.value, "The value") });
      say("The parameter is set.");
      await context.refresh();
    },
  });
  return adminPage("parameters", "Parameters", [
    about,
    folded("Set a parameter of a virtual host", set.element),
    may.administer() ? folded("Set a global parameter", setGlobal.element) : null,
  ]);
}

export function definitionsPage() {
  const where = field({
    name: "vhost",
    label: "What",
    type: "select",
    options: [
      { value: "", label: "Everything: users, virtual hosts, policies, queues …" },
      ...session.vhosts.map((v) => ({ value: `=${v}`, label: `Virtual host ${v}` })),
    ],
    value: "",
  });
  const pathOf = (v) => (v === "" ? ["definitions"] : ["definitions", v.slice(1)]);
  const save = form({
    label: "Export definitions",
    action: "Download",
    reset: false,
    fields: [where],
    async run(v) {
      const all = await api.get(pathOf(v.vhost));
      const url = URL.createObjectURL(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }));
      const name = `warren-${session.cluster}-${new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-")}.json`;
      h("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
      say(`${name}: ${all.queues.length} queues, ${all.exchanges.length} exchanges, ${all.bindings.length} bindings.`);
    },
  });
  const file = h("input", { type: "file", id: "definitions-file", accept: ".json,application/json", required: true });
  const load = form({
    label: "Import definitions",
    action: "Import…",
    reset: false,
    fields: [
      { name: "file", element: h("div", { class: "field" }, h("label", { for: "definitions-file" }, "File"), file), read: () => file.files[0] },
      {
        name: "into",
        label: "Into",
        type: "select",
        options: [{ value: "", label: "The whole cluster" }, ...session.vhosts.map((v) => ({ value: `=${v}`, label: `Virtual host ${v}` }))],
        value: "",
      },
    ],
    async run(v) {
      if (!v.file) throw new Error("Choose a file.");
      const all = parseJSON(await v.file.text(), v.file.name);
      const lines = Object.entries(all)
        .filter(([, list]) => Array.isArray(list) && list.length)
        .map(([kind, list]) => `${list.length} ${kind.replaceAll("_", " ")}`);
      const yes = await sure({
        title: "Import these definitions?",
        action: "Import",
        text: [
          `${v.file.name}, ${bytes(v.file.size)}: ${lines.join(", ") || "nothing that is known"}.`,
          "What is there already stays as it is, but for parameters, policies, users’ passwords and permissions, which are set. Nothing is deleted.",
        ],
      });
      if (!yes) return;
      await api.post(pathOf(v.into), all);
      setVHosts((await api.get(["vhosts"], { columns: "name" })).map((o) => o.name));
      say("The definitions are imported.");
    },
  });
  return adminPage("definitions", "Definitions", [
    h(
      "div",
      { class: "columns" },
      card(
        "Export",
        h("p", { class: "muted" }, "A file in RabbitMQ’s format, without messages. It holds hashes of passwords: keep it as you keep those."),
        save.element,
      ),
      card("Import", h("p", { class: "muted" }, "Files of RabbitMQ are read too."), load.element),
    ),
    card(
      "Backup with messages",
      h("p", {}, "An image of the cluster with all its messages: ", h("code", {}, "warrenctl backup FILE"), " on a command line."),
    ),
  ]);
}

export function settingsPage(context) {
  const box = h("section", { class: "card flush" });
  context.live(
    (signal) => api.get(["config", "effective"], {}, signal),
    (all) =>
      fill(
        box,
        h("header", { class: "card-head" }, h("h2", {}, `Settings of ${session.node}`)),
        plainTable(
          "Settings",
          ["Setting", "Value"],
          Object.entries(all)
            .sort(([a], [b]) => a.localeCompare(b))
            .map(([name, value]) => ({
              key: name,
              cells: [h("code", {}, name), value === "" ? h("span", { class: "zero" }, "(empty)") : String(value)],
            })),
        ),
      ),
  );
  return adminPage("settings", "Settings", box);
}
