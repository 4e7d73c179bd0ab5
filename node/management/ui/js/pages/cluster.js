// The cluster: its nodes, who leads, how far each has come, alarms, and what the nodes agree on.

import { api } from "../api.js";
import { chart, gauges, spanChoice } from "../chart.js";
import { fill, h } from "../dom.js";
import { bytes, duration, number, short } from "../format.js";
import { dialog, form, sure } from "../form.js";
import { head, lag, meter, nodeState, nodeTable, role } from "../nodes.js";
import { card, state } from "../parts.js";
import { go, link } from "../router.js";
import { may, session, setCluster } from "../session.js";
import { facts, plainTable } from "../table.js";
import { attempt, say } from "../toast.js";

const get = (path, signal, query) => api.get(path, query, signal);

export function clusterPage(context) {
  const tiles = h("dl", { class: "tiles" });
  const nodes = h("section", { class: "card flush" });
  const more = h("div", { class: "stack" });
  let seen = { cluster: null, nodes: [] };

  context.live(
    async (signal) => {
      const [cluster, all, flags] = await Promise.all([
        get(["cluster"], signal),
        get(["nodes"], signal),
        may.administer() ? get(["feature-flags"], signal) : [],
      ]);
      return { cluster, all, flags };
    },
    ({ cluster, all, flags }) => {
      seen = { cluster, nodes: all };
      const voters = all.filter((n) => n.raft_voter);
      const alive = voters.filter(answers);
      const majority = Math.floor(voters.length / 2) + 1;
      const spare = alive.length - majority;
      fill(
        tiles,
        tile("Leader", cluster.leader || "none", cluster.leader ? `term ${number(cluster.raft_term)}` : "no majority of nodes agrees on one"),
        tile("Nodes", `${all.filter(answers).length} of ${all.length}`, `${voters.length} vote`),
        tile(
          "May be lost",
          number(Math.max(0, spare)),
          spare >= 0 ? `${majority} of ${voters.length} voters are needed` : "there is no majority: nothing is confirmed",
        ),
        tile("Commit index", short(head(all)), `snapshot at ${short(cluster.raft_snapshot_index)}`),
        tile("Alarms", number(cluster.alarms.length), cluster.alarms.length ? "publishers are blocked" : "publishers may publish"),
      );
      fill(nodes, h("header", { class: "card-head" }, h("h2", {}, "Nodes")), nodeTable(all));
      if (cluster.name !== session.cluster) setCluster(cluster.name);
      fill(
        more,
        card(
          "About this cluster",
          facts([
            ["Name", cluster.name],
            ["Id", h("code", {}, cluster.cluster_id)],
            ["Version", versions(all)],
            flags.length ? ["Version of the replicated state", stateVersion(flags)] : null,
          ]),
        ),
        h(
          "section",
          { class: "card flush" },
          h("header", { class: "card-head" }, h("h2", {}, "Addresses")),
          plainTable(
            "Addresses of the nodes",
            ["Node", "AMQP", { label: "HTTP", from: "s" }, { label: "Other nodes", from: "m" }, { label: "Version", from: "s" }],
            all.map((n) => ({
              key: n.id,
              cells: [n.name, n.amqp_address || "–", n.http_address || "–", n.cluster_address || "–", n.version || "–"],
            })),
          ),
        ),
        cluster.alarms.length
          ? card(
              "Alarms",
              h(
                "ul",
                { class: "values" },
                cluster.alarms.map((a) => h("li", {}, state(`${a.node}: ${a.resource}`, "bad"))),
              ),
            )
          : null,
        flags.length
          ? h(
              "section",
              { class: "card flush" },
              h("header", { class: "card-head" }, h("h2", {}, "Feature flags")),
              plainTable(
                "Feature flags",
                ["Flag", "State", { label: "About", from: "s" }],
                flags.map((f) => ({ key: f.name, cells: [h("code", {}, f.name), state(f.state, f.state === "enabled" ? "good" : "warn"), f.desc] })),
              ),
            )
          : null,
      );
    },
  );

  async function transfer() {
    const others = seen.nodes.filter((n) => n.running && n.raft_voter && !n.raft_leader && !n.being_drained);
    const to = await dialog("Have another node lead", (close) => [
      h("div", { class: "dialog-text" }, h("p", {}, "Clients notice a pause of some milliseconds, and nothing else.")),
      form({
        label: "Have another node lead",
        action: "Hand over",
        extra: h("button", { type: "button", onclick: () => close() }, "Cancel"),
        fields: [
          {
            name: "node",
            label: "New leader",
            type: "select",
            options: [{ value: "", label: "The one that is furthest" }, ...others.map((n) => n.name)],
            value: "",
          },
        ],
        async run(v) {
          await api.post(["cluster", "leader"], { node: v.node });
          close(v.node);
        },
      }).element,
    ]);
    if (to !== undefined) {
      await attempt("Leadership is handed over.", async () => {});
      await context.refresh();
    }
  }

  async function rename() {
    const name = await dialog(
      "Rename the cluster",
      (close) =>
        form({
          label: "Rename the cluster",
          action: "Rename",
          extra: h("button", { type: "button", onclick: () => close() }, "Cancel"),
          fields: [
            {
              name: "name",
              label: "Name",
              required: true,
              value: seen.cluster?.name ?? session.cluster,
              help: "Clients are told it when they connect, and shovels write it into headers.",
            },
          ],
          async run(v) {
            await api.put(["cluster-name"], { name: v.name });
            close(v.name);
          },
        }).element,
    );
    if (name === undefined) return;
    say(`The cluster is called ${name}.`);
    await context.refresh();
  }

  return {
    title: "Cluster",
    actions: may.administer()
      ? [h("button", { type: "button", onclick: rename }, "Rename…"), h("button", { type: "button", onclick: transfer }, "Transfer leadership…")]
      : null,
    body: [tiles, nodes, more],
  };
}

// answers reports whether a node runs and has told its numbers: one that stands still is no help to the others.
const answers = (n) => n.running && n.raft_applied_index !== undefined;

// versions are those of the nodes: one, or in an upgrade each with its nodes.
function versions(nodes) {
  const by = new Map();
  for (const n of nodes.filter((one) => one.version)) by.set(n.version, [...(by.get(n.version) ?? []), n.name]);
  if (by.size < 2) return [...by.keys()][0] ?? "–";
  return h("span", { class: "warn-text" }, [...by].map(([version, names]) => `${version} (${names.join(", ")})`).join("; "));
}

// stateVersion is the newest version of the replicated state that is in use, and the newest that this node knows.
function stateVersion(flags) {
  const of = (list) => Math.max(0, ...list.map((f) => Number(/^warren_state_v(\d+)$/.exec(f.name)?.[1] ?? 0)));
  const used = of(flags.filter((f) => f.state === "enabled"));
  const known = of(flags);
  return used === known ? number(used) : h("span", { class: "warn-text" }, `${used}; ${known} when all nodes know it`);
}

const tile = (name, value, about) =>
  h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, h("span", { class: "big" }, value), h("span", { class: "about" }, about)));

const charts = [
  { id: "mem_used", title: "Memory", label: "Used", format: bytes },
  { id: "sockets_used", title: "Connections", label: "Open", format: short },
  { id: "fd_used", title: "File descriptors", label: "Used", format: short },
  { id: "disk_free", title: "Disk", label: "Free", format: bytes },
];

const memoryParts = [
  ["binary", "Messages"],
  ["queue_procs", "Queues, sessions and other objects"],
  ["other_proc", "Stacks"],
  ["other_system", "Runtime"],
  ["allocated_unused", "Kept for objects to come"],
  ["reserved_unallocated", "Not of the heap"],
];

export function nodePage(context) {
  const { name } = context.params;
  const about = h("div", { class: "stack" });
  const more = h("div", { class: "columns" });
  const plots = charts.map((c) => ({
    ...c,
    plot: chart({
      title: c.title,
      series: [{ id: c.id, label: c.label, color: 1 }],
      format: c.format,
      unit: c.format === bytes ? 1024 : 1000,
      fill: true,
    }),
  }));
  const choice = spanChoice(() => context.refresh());
  const actions = h("div", { class: "actions" });

  context.live(
    async (signal) => {
      const { age, incr } = choice.span;
      const [all, memory, needed] = await Promise.all([
        get(["nodes"], signal, { node_stats_age: age, node_stats_incr: incr }),
        get(["nodes", name, "memory"], signal),
        whyNeeded(name, signal),
      ]);
      return { all, memory: memory.memory, needed };
    },
    ({ all, memory, needed }) => {
      const n = all.find((one) => one.name === name);
      context.problem(n ? null : new Error(`There is no node ${name} in the cluster any more.`));
      if (!n) return;
      const since = n.uptime ? Date.now() - n.uptime : 0;
      for (const { id, plot } of plots) plot.update(gauges({ [id]: n[`${id}_details`] }, since));
      fill(
        about,
        card(
          null,
          facts([
            ["State", nodeState(n, all)],
            ["Role", role(n)],
            ["Version", n.version || "–"],
            ["Up", duration(n.uptime)],
            ["Process", n.os_pid ? String(n.os_pid) : "–"],
            ["Id", h("code", {}, n.id)],
            ["Memory", meter(n.mem_used, n.mem_limit, `${bytes(n.mem_used)}${n.mem_limit ? ` of ${bytes(n.mem_limit)}` : ""}`, "Memory")],
            ["Disk free", `${bytes(n.disk_free)} (alarm below ${bytes(n.disk_free_limit)})`],
            ["File descriptors", n.fd_total ? `${number(n.fd_used)} of ${number(n.fd_total)}` : "–"],
            ["Connections", number(n.sockets_used)],
            ["Channels", number(n.channels)],
            ["Goroutines", number(n.proc_used)],
            ["Term", number(n.raft_term)],
            ["Commit index", number(n.raft_commit_index)],
            ["Applied", number(n.raft_applied_index)],
            ["Behind", number(lag(n, all))],
            ["Snapshot at", number(n.raft_snapshot_index)],
            ["Last entry", number(n.raft_last_index)],
            needed === null ? null : ["May be stopped", needed === "" ? "yes" : `no: ${needed}`],
            ["AMQP", n.amqp_address || "–"],
            ["HTTP", n.http_address || "–"],
            ["Other nodes", n.cluster_address || "–"],
          ]),
        ),
      );
      fill(
        more,
        memory && typeof memory === "object"
          ? h(
              "section",
              { class: "card flush" },
              h("header", { class: "card-head" }, h("h2", {}, "What memory is used for")),
              plainTable(
                "What memory is used for",
                ["Part", { label: "Bytes", num: true }],
                memoryParts.map(([id, label]) => ({ key: id, cells: [label, bytes(memory[id])] })),
              ),
            )
          : null,
      );
      fill(actions, nodeActions(context, n, needed !== null));
    },
  );
  return {
    title: name,
    about: "Node of the cluster",
    crumbs: [["Cluster", link("cluster")]],
    actions,
    body: [
      about,
      h("div", { class: "form-foot" }, choice.element),
      h(
        "div",
        { class: "columns" },
        plots.map(({ plot }) => card(null, plot.element)),
      ),
      more,
    ],
  };
}

// whyNeeded is why the cluster cannot go on without a node, "" when it can, null when the nodes are of a version that does not tell and
// knows no draining.
async function whyNeeded(name, signal) {
  try {
    await get(["cluster", "nodes", name, "quorum-critical"], signal);
    return "";
  } catch (e) {
    if (e.status === 404) return null;
    if (e.answer?.status === "failed") return e.message;
    throw e;
  }
}

// drain asks whether a node shall be taken out of service.
async function drain(context, n) {
  const closed = await dialog(`Drain ${n.name}?`, (close) => [
    h(
      "div",
      { class: "dialog-text" },
      h("p", {}, "It closes its clients, takes no new ones and does not lead, until it is revived or started again. It goes on to replicate."),
    ),
    form({
      label: `Drain ${n.name}`,
      action: "Drain",
      fields: [{ name: "force", label: "Even if the cluster could not go on without it", type: "checkbox" }],
      extra: h("button", { type: "button", onclick: () => close() }, "Cancel"),
      async run(v) {
        const answer = await api.post(["cluster", "nodes", n.name, "drain"], { force: v.force });
        close(answer.connections_closed);
      },
    }).element,
  ]);
  if (closed === undefined) return;
  say(`${n.name} is drained; connections that were closed: ${number(closed)}.`);
  await context.refresh();
}

function nodeActions(context, n, drains) {
  if (!may.administer()) return [];
  const lead = async () => {
    const yes = await sure({
      title: `Have ${n.name} lead?`,
      action: "Hand over",
      text: "Clients notice a pause of some milliseconds, and nothing else.",
    });
    if (yes && (await attempt(`${n.name} leads now.`, () => api.post(["cluster", "leader"], { node: n.name })))) await context.refresh();
  };
  const forget = async () => {
    const yes = await sure({
      title: `Remove ${n.name} for good?`,
      action: "Remove node",
      typed: n.name,
      text: "It counts for the majority no more, and must not be started with its old data again.",
    });
    if (yes && (await attempt(`${n.name} is removed.`, () => api.delete(["cluster", "nodes", n.id])))) go("cluster");
  };
  const revive = async () => {
    if (await attempt(`${n.name} is in service again.`, () => api.post(["cluster", "nodes", n.name, "revive"]))) await context.refresh();
  };
  return [
    drains && n.running && n.being_drained ? h("button", { type: "button", "data-key": "revive", onclick: revive }, "Revive") : null,
    drains && n.running && !n.being_drained ? h("button", { type: "button", "data-key": "drain", onclick: () => drain(context, n) }, "Drain…") : null,
    n.running && n.raft_voter && !n.raft_leader && !n.being_drained ? h("button", { type: "button", onclick: lead }, "Make it lead") : null,
    n.running ? null : h("button", { type: "button", class: "danger-line", onclick: forget }, "Remove from the cluster"),
  ];
}
