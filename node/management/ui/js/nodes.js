// The nodes of the cluster in a table: what they do in the Raft group, how far behind they are, and what they have left.

import { h } from "./dom.js";
import { bytes, duration, number } from "./format.js";
import { badge, state } from "./parts.js";
import { link } from "./router.js";
import { plainTable } from "./table.js";

// lateAfter is how many log entries a node may be behind without anybody being told.
const lateAfter = 2000;

// head is how far the log is that the cluster has agreed on.
export const head = (nodes) => Math.max(0, ...nodes.map((n) => n.raft_commit_index ?? 0));

export const lag = (node, nodes) => (typeof node.raft_applied_index === "number" ? Math.max(0, head(nodes) - node.raft_applied_index) : null);

export function nodeState(node, nodes) {
  if (!node.running) return state("unreachable", "bad");
  if (node.mem_alarm || node.disk_free_alarm) return state(node.mem_alarm ? "low memory" : "low disk", "bad");
  if (node.raft_applied_index === undefined) return state("no answer", "bad");
  if (node.being_drained) return state("drained", "warn");
  if (lag(node, nodes) > lateAfter) return state("catching up", "warn");
  return state("running", "good");
}

export const role = (node) =>
  node.raft_leader
    ? badge("leader", { kind: "accent" })
    : node.raft_voter
      ? badge("follower")
      : badge("non-voter", { title: "gets the log, but has no vote yet" });

// meter is a share of a limit, as a bar with its numbers.
export function meter(used, limit, text, label) {
  if (typeof used !== "number") return "–";
  if (!limit) return text;
  const part = Math.min(100, Math.round((100 * used) / limit));
  return h(
    "span",
    { class: "meter-text" },
    h(
      "svg",
      {
        class: `meter ${part >= 95 ? "bad" : part >= 80 ? "warn" : ""}`,
        viewBox: "0 0 100 10",
        preserveAspectRatio: "none",
        role: "meter",
        "aria-label": label,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": part,
      },
      h("rect", { class: "ground", width: 100, height: 10 }),
      h("rect", { class: "part", width: Math.max(part, 1), height: 10 }),
    ),
    text,
  );
}

export function nodeTable(nodes) {
  const late = (n) => {
    const behind = lag(n, nodes);
    return behind === null ? "–" : behind > lateAfter ? h("strong", { class: "warn-text" }, number(behind)) : number(behind);
  };
  return plainTable(
    "Nodes",
    [
      "Node",
      "State",
      "Role",
      { label: "Term", num: true, from: "l" },
      { label: "Commit index", num: true, from: "m" },
      { label: "Behind", num: true, title: "Log entries that the cluster has agreed on and this node has not applied yet" },
      { label: "Memory", from: "m" },
      { label: "Disk free", num: true, from: "m" },
      { label: "Connections", num: true, from: "l" },
      { label: "Up", num: true, from: "l" },
    ],
    nodes.map((n) => ({
      key: n.id ?? n.name,
      cells: [
        h("a", { href: link("cluster", n.name), class: "name" }, n.name),
        nodeState(n, nodes),
        role(n),
        number(n.raft_term),
        number(n.raft_commit_index),
        late(n),
        meter(n.mem_used, n.mem_limit, n.mem_limit ? `${bytes(n.mem_used)} of ${bytes(n.mem_limit)}` : bytes(n.mem_used), `Memory of ${n.name}`),
        bytes(n.disk_free),
        number(n.sockets_used),
        duration(n.uptime),
      ],
    })),
  );
}
