// What an administrator does: users, policies, definitions, shovels, logins, connections; and what others see of it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { accessible, api, eventually, logIn, noFaults, nodes, open, shot, visit } from "./lib.mjs";
import { browser, here, http, inQueue, page } from "./stage.mjs";

// shovels moves messages by one, changes it so that it fails, mends it and stops it.
export async function shovels() {
  await visit(page, "admin/shovels", "Shovels");
  await page.getByText("Start a shovel").first().click();
  const start = page.getByRole("form", { name: "Start a shovel" });
  await start.getByLabel(/^Name/).fill("mover");
  await start.getByLabel("From: its name").fill("inbox");
  await start.getByRole("button", { name: "Start shovel" }).click();
  await start.getByRole("alert").getByText("To: name the queue.").waitFor();
  await start.getByLabel("To: its name").fill("moved here");
  await start.getByRole("button", { name: "Start shovel" }).click();
  assert.equal(await start.getByLabel("From: broker").inputValue(), "amqp://", "the form is as it was at first");
  const row = page.getByRole("table", { name: "Shovels" }).getByRole("row").filter({ hasText: "mover" });
  await row.getByText("running", { exact: true }).waitFor();
  await eventually("its messages are moved", async () => (await inQueue("moved here")).messages_ready === 3);
  await row.getByRole("link", { name: "mover" }).click();
  await page.getByRole("heading", { level: 1, name: "mover" }).waitFor();
  await page.getByText("Change it").click();
  const change = page.getByRole("form", { name: "Change the shovel" });
  const uri = change.getByLabel("To: broker");
  assert.equal(await uri.inputValue(), "amqp://");
  await uri.fill("amqp://nobody:hidden@localhost:1");
  await change.getByLabel("Say in x-shovelled where messages came from").check();
  await change.getByRole("button", { name: "Save" }).click();
  await page.getByText("terminated", { exact: true }).waitFor();
  await page.locator(".problem").getByText("connection refused").waitFor();
  assert.doesNotMatch(await page.locator("main").innerText(), /hidden/, "passwords stand in the form only");
  await accessible(page, "a shovel that fails");
  await shot(page, "shovel-fails");
  await uri.fill("amqp://");
  await change.getByRole("button", { name: "Save" }).click();
  await page.getByText("running", { exact: true }).waitFor();
  assert.deepEqual((await api(http, "GET", ["parameters", "shovel", "/", "mover"])).value, {
    "src-uri": "amqp://",
    "src-queue": "inbox",
    "dest-uri": "amqp://",
    "dest-queue": "moved here",
    "dest-add-forward-headers": true,
    "ack-mode": "on-confirm",
  });
  await page.getByRole("button", { name: "Restart" }).click();
  await page.getByText("Shovel mover connects anew.").waitFor();
  await page.getByText("running", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Stop…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Stop and delete" }).click();
  await page.getByRole("heading", { level: 1, name: "Shovels" }).waitFor();
  await page.getByText("No shovels").waitFor();
}

// logins finds the wrong password of the walk's beginning.
export async function logins() {
  await visit(page, "admin/logins", "Logins");
  const sources = page.getByRole("table", { name: "Logins by source" });
  const guest = sources.getByRole("row").filter({ hasText: "guest" }).filter({ hasText: "HTTP" }).filter({ hasText: here });
  await eventually("the failed login", async () => (await guest.getByRole("cell").last().innerText()) === "1");
  await page.getByRole("button", { name: "Count anew…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Count anew" }).click();
  await eventually("it is forgotten", async () => (await guest.getByRole("cell").last().innerText()) === "0");
}

export async function renameCluster() {
  await visit(page, "cluster", "Cluster");
  await page.getByRole("button", { name: "Rename…" }).click();
  await page.getByRole("dialog").getByRole("textbox", { name: "Name" }).fill("burrow");
  await page.getByRole("dialog").getByRole("button", { name: "Rename" }).click();
  await page.getByRole("banner").getByText("burrow").waitFor();
  assert.equal((await api(nodes.find((n) => n.name !== here).http, "GET", ["cluster-name"])).name, "burrow");
}

// administer adds a user and a policy, and takes definitions out and in again.
export async function administer() {
  await visit(page, "admin/users", "Users");
  await page.getByText("Add a user").first().click();
  const user = page.getByRole("form", { name: "Add a user" });
  await user.getByLabel("Name", { exact: false }).first().fill("ada");
  await user.getByLabel("Password", { exact: true }).fill("lovelace");
  await user.getByLabel("Password once more").fill("other");
  await user.getByRole("checkbox", { name: /^monitoring/ }).check();
  await user.getByRole("button", { name: "Add user" }).click();
  await user.getByRole("alert").getByText("The two passwords differ.").waitFor();
  await user.getByLabel("Password once more").fill("lovelace");
  await user.getByRole("button", { name: "Add user" }).click();
  await page.getByRole("heading", { level: 1, name: "ada" }).waitFor();
  await page.getByText("Grant permissions").first().click();
  await page.getByRole("form", { name: "Grant permissions" }).getByLabel("Configure").fill("^ada");
  await page.getByRole("form", { name: "Grant permissions" }).getByRole("button", { name: "Grant" }).click();
  await page.getByRole("table", { name: "Permissions", exact: true }).getByText("^ada").waitFor();
  assert.deepEqual((await api(http, "GET", ["permissions", "/", "ada"])).configure, "^ada");

  await visit(page, "admin/policies", "Policies");
  await page.getByText("Add a policy").first().click();
  const policy = page.getByRole("form", { name: "Add policy" });
  await policy.getByLabel("Name", { exact: false }).first().fill("soon");
  await policy.getByLabel("Pattern").fill("^inbox$");
  await policy.getByLabel("Definition: add a known one").selectOption("message-ttl");
  await page.keyboard.type("soon");
  await policy.getByRole("button", { name: "Set policy" }).click();
  await policy.getByRole("alert").getByText("“soon” is not a number").waitFor();
  await policy.getByLabel("Definition: value of message-ttl").fill("86400000");
  await policy.getByRole("button", { name: "Set policy" }).click();
  await page.getByRole("table", { name: "Policies", exact: true }).getByText("soon").waitFor();
  await eventually("the queue has it", async () => (await inQueue("inbox")).policy === "soon");

  await visit(page, "admin/definitions", "Definitions");
  const coming = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download" }).click();
  const file = await (await coming).path();
  assert.ok(JSON.parse(readFileSync(file, "utf8")).queues.some((q) => q.name === "inbox"));
  await page.getByLabel("File").setInputFiles(file);
  await page.getByRole("button", { name: "Import…" }).click();
  await page.getByRole("dialog").getByText("121 queues").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Import" }).click();
  await page.getByText("The definitions are imported.").waitFor();

  await visit(page, "admin/users/ada", "ada");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByLabel(/^Type/).fill("ada");
  await page.getByRole("dialog").getByRole("button", { name: "Delete user" }).click();
  await page.getByRole("heading", { level: 1, name: "Users" }).waitFor();
}

// byTags looks at what a user sees who may not do much.
export async function byTags() {
  const other = await open(browser, http);
  await logIn(other, "watcher");
  const nav = other.getByRole("navigation", { name: "Pages", exact: true });
  assert.equal(await nav.getByRole("link", { name: "Admin" }).count(), 0);
  assert.equal(await nav.getByRole("link", { name: "Cluster" }).count(), 0);
  await other.getByText("Messages", { exact: true }).first().waitFor();
  await visit(other, "queues/%2F/inbox/messages", "inbox");
  await other.getByText("access to queue 'inbox' in vhost '/' refused for user 'watcher'").waitFor();
  await visit(other, "admin/users", "Users");
  await other.getByRole("alert").getByText("Not administrator user").waitFor();
  noFaults(other);
  await other.context().close();
}

// closeConnection ends a client's connection with a reason, which the test that holds it wants to hear.
export async function closeConnection() {
  await visit(page, "connections", "Connections");
  const first = page.getByRole("table", { name: "Connections" }).getByRole("row").filter({ hasText: "consumes" });
  const name = await first.getByRole("link").innerText();
  await first.getByRole("link").click();
  await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
  await accessible(page, "a connection");
  await page.getByRole("button", { name: "Close", exact: true }).click();
  await page.getByRole("dialog").getByLabel("Reason").fill("maintenance at noon");
  await page.getByRole("dialog").getByRole("button", { name: "Close connection" }).click();
  await page.getByText("The connection is closed.").waitFor();
  await page.getByRole("heading", { level: 1, name: "Connections" }).waitFor();
}
