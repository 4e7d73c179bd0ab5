// Shovels: what moves messages between brokers for as long as it is set, how each is doing, and setting, changing and ending them.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { number } from "../format.js";
import { folded, sure } from "../form.js";
import { card, count, scoped, state, time, values, vhostColumn, withVHost } from "../parts.js";
import { go, link } from "../router.js";
import { shovelForm } from "../shovel.js";
import { dataTable, facts } from "../table.js";
import { attempt } from "../toast.js";

const kinds = { running: "good", blocked: "warn", starting: "warn", terminated: "bad" };
const shovelState = (s) => state(s.state, kinds[s.state] ?? "");

// since is when a state began; the server writes "2026-05-01 02:03:04", in UTC.
const since = (s) => (s.timestamp ? Date.parse(`${s.timestamp.replace(" ", "T")}Z`) : 0);

// place is one end: a queue, or an exchange with a key.
const place = (s, end) =>
  s[`${end}_queue`] ?? [s[`${end}_exchange`], s[`${end}_exchange_key`]].filter((v) => v !== undefined && v !== "").join(", key ");
const uri = (s, end) => (s[`${end}_uri`] === undefined ? "" : s[`${end}_uri`].replace(/^amqp:(\/\/)?$/, "this cluster"));
const end = (s, which) =>
  s[`${which}_uri`] === undefined ? "–" : h("span", {}, place(s, which) || "as it came", h("div", { class: "muted" }, uri(s, which)));
const left = (s) => (typeof s.remaining === "number" ? number(s.remaining) : s.remaining === undefined ? "–" : "no end");

export function shovelsPage(context) {
  const table = dataTable(context, {
    id: "shovels",
    caption: "Shovels",
    sort: "name",
    filter: "Filter shovels by name",
    one: "shovel",
    key: (s) => `${s.vhost}\u0000${s.name}`,
    load: (query, signal) => api.get(scoped("shovels"), query, signal),
    columns: withVHost([
      { id: "name", label: "Name", sort: "name", cell: (s) => h("a", { href: link("admin", "shovels", s.vhost, s.name), class: "name" }, s.name) },
      vhostColumn,
      {
        id: "state",
        label: "State",
        sort: "state",
        cell: (s) => [shovelState(s), s.reason ? h("div", { class: "reason" }, s.reason) : null],
      },
      { id: "from", label: "From", from: "s", cell: (s) => end(s, "src") },
      { id: "to", label: "To", from: "s", cell: (s) => end(s, "dest") },
      { id: "moved", label: "Moved", num: true, sort: "forwarded", from: "m", title: "messages since it connected", cell: (s) => count(s.forwarded) },
      { id: "left", label: "Left", num: true, sort: "remaining", from: "m", title: "messages until it ends", cell: left },
      { id: "node", label: "Node", sort: "node", from: "l", cell: (s) => s.node ?? "–" },
      { id: "since", label: "Since", num: true, sort: "timestamp", from: "l", cell: (s) => time(since(s)) },
    ]),
    empty: [
      h("p", { class: "empty-title" }, "No shovels"),
      h("p", {}, "A shovel moves messages from a queue or an exchange, here or of another broker, to another one. Start one below."),
    ],
  });
  return adminPage("shovels", "Shovels", [
    table.element,
    folded("Start a shovel", shovelForm({ label: "Start a shovel", action: "Start shovel", done: () => table.refresh() }).element),
  ]);
}

export function shovelPage(context) {
  const { vhost, name } = context.params;
  const about = h("div", { class: "stack" });
  context.live(
    (signal) => api.get(["shovels", vhost], {}, signal),
    (all) => {
      const s = all.find((one) => one.name === name);
      context.problem(s ? null : new Error("This shovel has ended, or somebody has deleted it. What is shown is how it was."));
      if (!s) return;
      fill(
        about,
        s.reason ? h("p", { class: "problem" }, s.reason) : null,
        card(
          null,
          facts([
            ["State", shovelState(s)],
            ["Since", time(since(s))],
            ["Runs on", s.node ?? "no node yet"],
            ["From", end(s, "src")],
            ["To", end(s, "dest")],
            ["Moved since it connected", number(s.forwarded)],
            ["On their way", number(s.pending)],
            ["Left", left(s)],
          ]),
        ),
      );
    },
  );

  const change = h("div", {});
  const set = h("div", {});
  const parameter = ["parameters", "shovel", vhost, name];
  const show = (value) => fill(set, card("As it is set", values(hidden(value))));
  const changed = async () => {
    show((await api.get(parameter)).value);
    await context.refresh();
  };
  api
    .get(parameter)
    .then(({ value }) => {
      show(value);
      const { element } = shovelForm({ label: "Change the shovel", action: "Save", vhost, name, value, done: changed });
      fill(change, folded("Change it", element));
    })
    .catch((e) => context.problem(e));

  const restart = async () => {
    if (await attempt(`Shovel ${name} connects anew.`, () => api.delete(["shovels", "vhost", vhost, name, "restart"]))) await context.refresh();
  };
  const stop = async () => {
    const yes = await sure({
      title: `Stop shovel ${name}?`,
      action: "Stop and delete",
      text: "It takes no more messages and is gone. What it has not moved stays where it is; what it has taken and cannot finish goes back there.",
    });
    if (yes && (await attempt(`Shovel ${name} is stopped.`, () => api.delete(["shovels", "vhost", vhost, name])))) go("admin", "shovels");
  };
  return adminPage("shovels", name, [about, set, change], {
    about: `Shovel of virtual host ${vhost}`,
    crumbs: [["Shovels", link("admin", "shovels")]],
    actions: [
      h("button", { type: "button", onclick: restart }, "Restart"),
      h("button", { type: "button", class: "danger-line", onclick: stop }, "Stop…"),
    ],
  });
}

// hidden is the value of a shovel without the passwords of its URIs, which need not stand on a screen.
const hidden = (value) =>
  Object.fromEntries(
    Object.entries(value).map(([k, v]) => [
      k,
      k.endsWith("-uri")
        ? [v]
            .flat()
            .map((u) => String(u).replace(/:[^:@/]*@/, ":…@"))
            .join(" ")
        : v,
    ]),
  );
