// Logins that were tried: on which node, from where, as whom, and how many failed.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { count, state } from "../parts.js";
import { may } from "../session.js";
import { plainTable } from "../table.js";
import { attempt } from "../toast.js";
import { sure } from "../form.js";

const protocols = { amqp091: "AMQP", http: "HTTP" };
const shown = 200; // sources on the page; those with the most failures stand first

// ofNode asks one node; one that does not answer has null.
async function ofNode(node, signal) {
  const path = ["auth", "attempts", node.name];
  try {
    const [all, sources] = await Promise.all([api.get(path, {}, signal), api.get([...path, "source"], {}, signal)]);
    return { node: node.name, all, sources };
  } catch (e) {
    if (e.status !== 503) throw e;
    return { node: node.name, all: null, sources: [] };
  }
}

const failed = (n) => (n ? h("strong", { class: "warn-text" }, count(n)) : count(0));

export function loginsPage(context) {
  const about = h("div", { class: "stack" });
  let nodes = [];
  context.live(
    async (signal) => {
      const all = await api.get(["nodes"], { columns: "name,running" }, signal);
      return Promise.all(all.map((n) => (n.running ? ofNode(n, signal) : { node: n.name, all: null, sources: [] })));
    },
    (answers) => {
      nodes = answers.filter((a) => a.all).map((a) => a.node);
      const sources = answers.flatMap((a) => a.sources.map((s) => ({ ...s, node: a.node })));
      sources.sort((a, b) => b.auth_attempts_failed - a.auth_attempts_failed || b.auth_attempts - a.auth_attempts);
      fill(about, byNode(answers), bySource(sources));
    },
  );
  const reset = async () => {
    const yes = await sure({ title: "Count logins anew?", action: "Count anew", text: "What was counted so far is forgotten, on every node." });
    if (!yes) return;
    if (await attempt("Logins are counted anew.", () => Promise.all(nodes.map((n) => api.delete(["auth", "attempts", n]))))) await context.refresh();
  };
  return adminPage("logins", "Logins", about, {
    about: "Since each node started, or since somebody had them counted anew. An HTTP client logs in with each request.",
    actions: may.administer() ? h("button", { type: "button", onclick: reset }, "Count anew…") : null,
  });
}

const byNode = (answers) =>
  h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "By node")),
    plainTable(
      "Logins by node",
      ["Node", "Protocol", { label: "Tried", num: true }, { label: "Succeeded", num: true, from: "s" }, { label: "Failed", num: true }],
      answers.flatMap(({ node, all }) =>
        all === null || all.length === 0
          ? [{ key: node, cells: [node, all === null ? state("no answer", "bad") : "no logins yet", "–", "–", "–"] }]
          : all.map((a) => ({
              key: `${node}\u0000${a.protocol}`,
              cells: [
                node,
                protocols[a.protocol] ?? a.protocol,
                count(a.auth_attempts),
                count(a.auth_attempts_succeeded),
                failed(a.auth_attempts_failed),
              ],
            })),
      ),
    ),
  );

const bySource = (sources) =>
  h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "By where they came from")),
    plainTable(
      "Logins by source",
      ["User", "Address", "Protocol", { label: "Node", from: "s" }, { label: "Succeeded", num: true, from: "s" }, { label: "Failed", num: true }],
      sources.slice(0, shown).map((s) => ({
        key: `${s.node}\u0000${s.protocol}\u0000${s.remote_address}\u0000${s.username}`,
        cells: [
          s.username || h("span", { class: "zero" }, "(others)"),
          s.remote_address || "–",
          protocols[s.protocol] ?? s.protocol,
          s.node,
          count(s.auth_attempts_succeeded),
          failed(s.auth_attempts_failed),
        ],
      })),
    ),
    sources.length > shown ? h("p", { class: "table-foot" }, `${shown} of ${sources.length}, those with the most failures.`) : null,
  );
