// A walk through the pages, as an operator would take it, on three nodes: in order, declare, bind, publish, browse, move, administer, and
// then what goes wrong.

import assert from "node:assert/strict";
import { accessible, api, eventually, fits, noFaults, shot, visit } from "./lib.mjs";
import { administer, byTags, closeConnection, logins, renameCluster, shovels } from "./admin.mjs";
import { alarms, drain, killLeader, killOwnNode, lagging } from "./faults.mjs";
import { pages } from "./pages.mjs";
import { browser, hostile, http, inQueue, page } from "./stage.mjs";

const begun = Date.now();
let last = begun;
const done = (what) => {
  console.log(`${what}: ${((Date.now() - last) / 1000).toFixed(1)} s`);
  last = Date.now();
};

async function loginByKeyboard() {
  assert.equal(await page.evaluate(() => document.activeElement.name), "user", "the first field has the focus");
  await accessible(page, "login");
  await shot(page, "login");
  await page.keyboard.type("guest");
  await page.keyboard.press("Tab");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("Name or password is wrong").waitFor();
  await page.getByLabel("Password").fill("guest");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.getByLabel("Refresh", { exact: true }).selectOption("2"); // seconds: the walk need not wait longer
  await page.getByRole("heading", { level: 1, name: "Overview" }).focus();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Overview", "a new page has the focus on its heading");
  const kept = await page.evaluate(() => JSON.stringify([document.cookie, location.href, Object.keys(localStorage)]));
  assert.doesNotMatch(kept, /guest/i, "name and password are in the tab's session only");
  // Before all else stands the way past the navigation.
  await page.getByRole("link", { name: "Warren: overview" }).focus();
  await page.keyboard.press("Shift+Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
}

async function declareAndBind() {
  await visit(page, "queues", "Queues");
  for (const name of [hostile, "inbox"]) {
    const form = page.getByRole("form", { name: "Declare a queue" });
    if (!(await form.isVisible())) await page.getByText("Declare a queue").first().click();
    await form.getByLabel("Name", { exact: false }).first().fill(name);
    await form.getByRole("button", { name: "Declare queue" }).click();
    await page.getByRole("table", { name: "Queues" }).getByRole("link", { name, exact: true }).waitFor();
  }
  await visit(page, "exchanges", "Exchanges");
  await page.getByText("Declare an exchange").first().click();
  const form = page.getByRole("form", { name: "Declare an exchange" });
  await form.getByLabel("Name", { exact: false }).first().fill("orders");
  await form.getByLabel("Type").first().selectOption("topic");
  await form.getByRole("button", { name: "Declare exchange" }).click();
  await page.getByRole("table", { name: "Exchanges" }).getByRole("link", { name: "orders", exact: true }).click();
  await page.getByRole("link", { name: "Bindings" }).click();
  await page.getByText("Add a binding").first().click();
  const bind = page.getByRole("form", { name: "Add a binding" }).first();
  await bind.getByLabel("Name", { exact: false }).fill(hostile);
  await bind.getByLabel("Routing key").fill("order.*");
  await bind.getByRole("button", { name: "Bind" }).click();
  await page.getByRole("table", { name: "Bindings from orders" }).getByRole("link", { name: hostile, exact: true }).waitFor();
  await bind.getByLabel("Name", { exact: false }).fill("nothing like it");
  await bind.getByRole("button", { name: "Bind" }).click();
  await bind.getByRole("alert").getByText("Not Found").waitFor();
}

async function preview() {
  await visit(page, "exchanges/%2F/orders/route", "orders");
  const form = page.getByRole("form", { name: "Route preview" });
  await form.getByLabel("Routing key").fill("order.new");
  await form.getByRole("button", { name: "Show the way" }).click();
  await page.getByRole("heading", { name: "1 queue gets it" }).waitFor();
  await page.getByText("a binding matches").waitFor();
  await form.getByLabel("Routing key").fill("other");
  await form.getByRole("button", { name: "Show the way" }).click();
  await page.getByRole("heading", { name: "No queue gets it" }).waitFor();
}

// trace looks at what the test had traced: a message that a client of another node published.
async function trace() {
  await visit(page, "traces/%2F/look", "look");
  const events = page.getByRole("table", { name: /^Events of message/ });
  await page.getByRole("heading", { name: "Message order-17" }).waitFor();
  await events.getByText("published through").waitFor();
  await events.getByText("came into").waitFor();
  await events.getByText("name of the queue:").waitFor();
  await events.getByRole("link", { name: "many-002", exact: true }).first().waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("main").getByText("ended", { exact: true }).waitFor();
}

async function publish(number, headers = {}, key = "order.new") {
  const form = page.getByRole("form", { name: "Publish a message" });
  await form.getByLabel("Routing key").fill(key);
  await form.getByLabel("Payload", { exact: true }).fill(number === 0 ? hostile : JSON.stringify({ number }));
  const group = form.getByRole("group", { name: "Headers" });
  while (await group.getByRole("button", { name: /^Remove/ }).count())
    await group
      .getByRole("button", { name: /^Remove/ })
      .first()
      .click();
  for (const [name, value] of Object.entries(headers)) {
    await group.getByRole("button", { name: "Add" }).click();
    await group.getByLabel("Headers: name").last().fill(name);
    await group.getByLabel("Headers: value").last().fill(String(value));
    await group
      .getByLabel("Headers: type")
      .last()
      .selectOption(typeof value === "number" ? "number" : "text");
  }
  await form.getByRole("button", { name: "Publish" }).click();
}

async function publishAndBrowse() {
  await visit(page, "exchanges/%2F/orders/publish", "orders");
  await publish(0, { tenant: 7, [hostile]: hostile });
  for (let i = 1; i < 4; i += 1) {
    await page.getByText("The message is published.").last().waitFor();
    await publish(i);
    await eventually("published", async () => (await inQueue(hostile)).messages_ready === i + 1);
  }
  await visit(page, `queues/%2F/${encodeURIComponent(hostile)}/messages`, hostile);
  const table = page.getByRole("table", { name: "Messages" });
  await table.getByRole("row").nth(4).waitFor();
  await page.getByText("Filter", { exact: true }).click();
  const look = page.getByRole("form", { name: "Which messages to show" });
  const headers = look.getByRole("group", { name: "Has these headers" });
  await headers.getByRole("button", { name: "Add" }).click();
  await headers.getByLabel("Has these headers: name").fill("tenant");
  await headers.getByLabel("Has these headers: value").fill("7");
  await headers.getByLabel("Has these headers: type").selectOption("number");
  await look.getByRole("button", { name: "Show messages" }).click();
  await eventually("one message has the header", async () => (await table.getByRole("row").count()) === 2);
  await table.getByRole("button", { name: "Show message 1" }).click();
  const box = page.getByRole("dialog");
  await box.locator("pre").getByText(hostile, { exact: true }).waitFor();
  await accessible(page, "a message");
  await shot(page, "message");
  await page.keyboard.press("Escape");
  await box.waitFor({ state: "detached" });
  const q = await inQueue(hostile);
  assert.deepEqual([q.messages_ready, q.message_stats.get, q.message_stats.redeliver], [4, 0, 0], "looking took nothing");
}

// A publisher may put any time on a message, and any headers that look like the broker's own.
async function strangeMessages() {
  await api(http, "PUT", ["queues", "/", "strange"], { durable: true });
  for (const properties of [{ timestamp: 9e15 }, { headers: { "x-death": [null, { queue: { a: 1 }, time: 9e15 }] } }]) {
    await api(http, "POST", ["exchanges", "/", "amq.default", "publish"], {
      routing_key: "strange",
      properties,
      payload: "x",
      payload_encoding: "string",
    });
  }
  await visit(page, "queues/%2F/strange/messages", "strange");
  const box = page.getByRole("dialog");
  for (const n of [1, 2]) {
    await page.getByRole("button", { name: `Show message ${n}` }).click();
    await box.locator("pre").getByText("x", { exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await box.waitFor({ state: "detached" });
  }
  await visit(page, "queues/%2F/strange/publish", "strange");
  await publish(3, { constructor: 1 }, "strange");
  await eventually("published", async () => (await inQueue("strange")).messages_ready === 2 + 1);
  await api(http, "DELETE", ["queues", "/", "strange"]);
  await visit(page, `queues/%2F/${encodeURIComponent(hostile)}/messages`, hostile);
}

async function move() {
  await page.getByRole("link", { name: "Move", exact: true }).click();
  const form = page.getByRole("form", { name: "Move messages" });
  await form.getByLabel("Queue", { exact: true }).fill("inbox");
  await form.getByLabel("How many at most").fill("3");
  await form.getByRole("button", { name: "Move messages" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Move them" }).click();
  await page.getByText("3 of 3 moved").first().waitFor();
  assert.deepEqual([(await inQueue(hostile)).messages_ready, (await inQueue("inbox")).messages_ready], [1, 3]);
  await page.getByRole("button", { name: "Delete" }).click();
  const sure = page.getByRole("dialog");
  await sure.getByRole("button", { name: "Delete queue" }).click();
  assert.ok(await sure.isVisible(), "a queue with messages goes only when its name is typed");
  await sure.getByLabel(/^Type/).fill(hostile);
  await sure.getByRole("button", { name: "Delete queue" }).click();
  await page.getByRole("heading", { level: 1, name: "Queues" }).waitFor();
  assert.equal(await page.evaluate(() => globalThis.pwned), undefined, "no text became markup");
}

// longList looks at more queues than stand on a page.
async function longList() {
  await visit(page, "queues?name=many", "Queues");
  const table = page.getByRole("table", { name: "Queues" });
  await page.getByText("1–50 of 120").waitFor();
  await page.getByRole("button", { name: "Next page" }).click();
  await page.getByText("51–100 of 120").waitFor();
  await table.getByRole("columnheader", { name: "Name" }).getByRole("button").click();
  assert.equal(await table.getByRole("columnheader", { name: "Name" }).getAttribute("aria-sort"), "descending");
  await table.getByRole("row").nth(1).getByRole("link", { name: "many-119" }).waitFor();
  await page.getByLabel("Filter queues by name").fill("many-007");
  await eventually("one is left", async () => (await table.getByRole("row").count()) === 2);
  assert.match(await page.evaluate(() => location.hash), /name=many-007/, "what is shown stands in the address");
  await page.reload();
  await eventually("and is shown again", async () => (await table.getByRole("row").count()) === 2);
}

// everyPage looks at all pages, narrow and wide, light and dark, and tells all that is wrong with them.
async function everyPage() {
  const wrong = [];
  const check = (f) => f.catch((e) => wrong.push(e.message));
  for (const [path, heading, contrast] of pages) {
    const name = path.replaceAll(/\W+/g, "_");
    await page.setViewportSize({ width: 1280, height: 900 });
    await visit(page, path, heading);
    await check(accessible(page, path, { contrast: Boolean(contrast) }));
    await shot(page, `wide-light-${name}`);
    await page.emulateMedia({ colorScheme: "dark" });
    if (contrast) await check(accessible(page, `${path}, dark`, { dark: true }));
    await shot(page, `wide-dark-${name}`);
    await page.setViewportSize({ width: 360, height: 740 });
    await check(fits(page, path));
    await shot(page, `phone-dark-${name}`);
    await page.emulateMedia({ colorScheme: "light" });
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  assert.equal(wrong.length, 0, wrong.join("\n"));
}

// keyboard reaches every control of some pages with the Tab key alone and sees where it is, and opens and closes what opens.
async function keyboard() {
  for (const [path, heading] of [
    ["cluster", "Cluster"],
    ["admin/shovels", "Shovels"],
  ]) {
    await visit(page, path, heading);
    for (const fold of await page.locator("details.fold > summary").all()) {
      await fold.focus();
      await page.keyboard.press("Enter");
    }
    await page.keyboard.press("Tab"); // after a click the browser shows no focus until a key is pressed
    await page.getByRole("link", { name: "Skip to content" }).focus();
    const missed = () =>
      page.evaluate(() => {
        const here = document.activeElement;
        here.seen = true;
        const style = getComputedStyle(here);
        if (style.outlineStyle === "none" && here.type !== "radio") return [`no outline: ${here.outerHTML.slice(0, 100)}`];
        return [...document.querySelectorAll("a[href], button:enabled, input, select, textarea, summary, [tabindex='0']")]
          .filter((e) => !e.seen && e.type !== "radio" && e.checkVisibility())
          .map((e) => e.outerHTML.slice(0, 100));
      });
    let left = await missed();
    for (let i = 0; i < 250 && left.length && !left[0].startsWith("no outline"); i++) {
      await page.keyboard.press("Tab");
      left = await missed();
    }
    assert.deepEqual(left, [], `${path}: not reached with Tab`);
  }
  const rename = page.getByRole("button", { name: "Rename…" });
  await visit(page, "cluster", "Cluster");
  await rename.focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.name), "name", "a dialog has the focus in its first field");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Rename…", "and gives it back");
  await page.setViewportSize({ width: 360, height: 740 });
  await page.getByRole("banner").getByRole("button", { name: "Pages" }).focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Overview", "the menu has the focus");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Pages");
  await page.setViewportSize({ width: 1280, height: 900 });
}

for (const step of [
  loginByKeyboard,
  declareAndBind,
  preview,
  publishAndBrowse,
  strangeMessages,
  move,
  longList,
  trace,
  everyPage,
  keyboard,
  administer,
  shovels,
  logins,
  renameCluster,
  byTags,
  alarms,
  closeConnection,
  lagging,
  drain,
  killLeader,
  killOwnNode,
]) {
  try {
    await step();
    noFaults(page);
  } catch (e) {
    if (process.env.WARREN_UI_FAILED) await page.screenshot({ path: process.env.WARREN_UI_FAILED, fullPage: true });
    console.log(`${step.name}: ${e.stack}\nfaults: ${page.faults.join("\n")}\nat ${page.url()}\n${await page.locator("body").innerText()}`);
    process.exit(1);
  }
  done(step.name);
}
await browser.close();
console.log(`all of it: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
