// What goes wrong in a cluster, as the pages show it while it happens: alarms, nodes that lag, are drained, or are killed.

import assert from "node:assert/strict";
import { accessible, addressOf, api, control, eventually, nodes, shot, visit } from "./lib.mjs";
import { here, http, inQueue, page } from "./stage.mjs";

const row = (name) =>
  page
    .getByRole("table", { name: "Nodes" })
    .getByRole("row")
    .filter({ has: page.getByRole("link", { name, exact: true }) });

// alarms gives two nodes settings by which they have too little memory and disk: every page says so, who publishes is shown as blocked.
export async function alarms() {
  const other = nodes.find((n) => n.name !== here).name;
  await visit(page, "cluster", "Cluster");
  await control("settings", here, "memory_high_watermark = 1MiB\n");
  await control("settings", other, "disk_free_limit = 100TB\n");
  const banners = page.locator(".banner", { hasText: "Publishers are blocked." });
  await banners.getByText(`Too little memory on ${here}. Consumers go on.`).waitFor();
  await banners.getByText(`Too little disk on ${other}. Consumers go on.`).waitFor();
  await row(here).getByText("low memory").waitFor();
  await row(other).getByText("low disk").waitFor();
  await accessible(page, "alarms");
  await shot(page, "alarms");
  await visit(page, "connections", "Connections");
  const clients = page.getByRole("table", { name: "Connections" });
  await clients.getByRole("row").filter({ hasText: "publishes" }).getByText("blocked", { exact: true }).waitFor();
  await clients.getByRole("row").filter({ hasText: "consumes" }).getByText("blocking", { exact: true }).waitFor();
  await shot(page, "blocked");
  for (const name of [here, other]) await control("settings", name, "");
  await clients.getByRole("row").filter({ hasText: "publishes" }).getByText("running", { exact: true }).waitFor();
  await banners.first().waitFor({ state: "detached" });
}

// lagging has a follower stand still: the list of nodes goes on, says so, and then that it is well again.
export async function lagging() {
  const still = (await api(http, "GET", ["cluster"])).members.find((m) => !m.raft_leader && m.name !== here).name;
  await visit(page, "cluster", "Cluster");
  await row(still).getByText("running").waitFor();
  await control("pause", still);
  await row(still)
    .getByText(/^(no answer|unreachable)$/)
    .waitFor();
  await row(here).getByText("running").waitFor();
  await page.getByText("2 of 3", { exact: true }).waitFor();
  await shot(page, "lagging");
  await control("resume", still);
  await row(still).getByText("running").waitFor();
}

// drain takes the page's node out of service and puts it back; a second one cannot go meanwhile.
export async function drain() {
  await visit(page, `cluster/${here}`, here);
  await page.getByRole("button", { name: "Drain…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain", exact: true }).click();
  await page.getByText(`${here} is drained`).waitFor();
  await page.getByText("This node is drained.").waitFor();
  await shot(page, "drained");
  const other = nodes.find((n) => n.name !== here).name;
  await visit(page, `cluster/${other}`, other);
  await page.getByRole("button", { name: "Drain…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain", exact: true }).click();
  await page.getByRole("dialog").getByRole("alert").getByText("cannot be drained now").waitFor();
  await page.keyboard.press("Escape");
  await visit(page, `cluster/${here}`, here);
  await page.getByRole("button", { name: "Revive" }).click();
  await page.getByText("This node is drained.").waitFor({ state: "detached" });
}

export async function killLeader() {
  const leader = (await api(http, "GET", ["cluster"])).leader;
  assert.notEqual(leader, here);
  await visit(page, "cluster", "Cluster");
  await row(leader).getByText("leader").waitFor();
  await page.evaluate(() => {
    globalThis.sameDocument = true;
  });
  await control("kill", leader);
  await row(leader).getByText("unreachable").waitFor();
  await eventually("another node leads", async () => {
    const now = (await api(http, "GET", ["cluster"])).leader;
    return now && now !== leader && (await row(now).getByText("leader", { exact: true }).isVisible());
  });
  await shot(page, "leader-killed");
  await visit(page, "queues/%2F/inbox/publish", "inbox");
  await page.getByRole("form", { name: "Publish a message" }).getByRole("button", { name: "Publish" }).click();
  await page.getByText("The message is published.").waitFor();
  assert.ok(await page.evaluate(() => globalThis.sameDocument), "nothing was reloaded");
  // Without a majority the page says so, and goes on when there is one again.
  const third = nodes.find((n) => n.name !== leader && n.name !== here).name;
  await control("kill", third);
  await page.getByText("The cluster cannot serve from here.").waitFor();
  await shot(page, "no-quorum");
  await control("start", third);
  await control("start", leader);
  await page.getByText("The cluster cannot serve from here.").waitFor({ state: "detached" });
  await visit(page, "cluster", "Cluster");
  await row(leader).getByText("running").waitFor();
}

export async function killOwnNode() {
  await visit(page, "queues", "Queues");
  await page.getByLabel("Filter queues by name").fill("meanwhile");
  await page.getByText("in its name").waitFor();
  await control("kill", here);
  await page.getByText("This node does not answer.").waitFor();
  await shot(page, "node-gone");
  const other = nodes.find((n) => n.name !== here).http;
  await eventually("a queue is declared on another node", () => api(other, "PUT", ["queues", "/", "meanwhile"], { durable: true }).then(() => true));
  await control("start", here);
  await page.getByText("This node does not answer.").waitFor({ state: "detached" });
  await page.getByRole("table", { name: "Queues" }).getByRole("link", { name: "meanwhile" }).waitFor();
  assert.ok(await page.evaluate(() => globalThis.sameDocument), "nothing was reloaded");
  await page.locator("summary", { hasText: "guest" }).click();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { level: 1, name: "Warren" }).waitFor();
  assert.equal(await page.evaluate(() => JSON.stringify(sessionStorage)), "{}", "nothing is left of the login");
}
