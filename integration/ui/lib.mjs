// What all walks through the pages need: a browser, the API, the cluster's processes, and waiting for conditions.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const nodes = JSON.parse(process.env.WARREN_NODES); // [{name, http}]
const shots = process.env.WARREN_UI_SHOTS ?? "";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const patience = 60_000; // milliseconds for a condition; a busy machine is slow

export const addressOf = (name) => nodes.find((n) => n.name === name).http;

// control asks the test that started this program to do something to a node's process: kill, start, pause or resume it, or have it read
// settings anew, which are the body.
export async function control(what, name, body) {
  const answer = await fetch(`${process.env.WARREN_CONTROL}/${what}/${name}`, { method: "POST", body });
  assert.equal(answer.status, 200, `${what} ${name}: ${await answer.text()}`);
}

// api asks a node, as guest.
export async function api(http, method, path, body) {
  const answer = await fetch(`http://${http}/api/${path.map(encodeURIComponent).join("/")}`, {
    method,
    headers: { Authorization: `Basic ${btoa("guest:guest")}` },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path.join("/")}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

// eventually waits until f gives something true and does not throw.
export async function eventually(what, f) {
  const until = Date.now() + patience;
  for (let last = "never true"; ;) {
    try {
      const found = await f();
      if (found) return found;
    } catch (e) {
      last = e.message;
    }
    if (Date.now() > until) throw new Error(`${what}: ${last}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

// open makes a page that fails the walk for what no page may do: log errors, break its policy, open dialogs of the browser, or
// ask anybody but its node.
export async function open(browser, http, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.faults = [];
  page.expectGone = false; // the node is being killed: requests may fail
  page.on("pageerror", (e) => page.faults.push(`error: ${e.stack}`));
  page.on("dialog", (d) => {
    page.faults.push(`dialog: ${d.message()}`);
    d.dismiss();
  });
  page.on("console", (m) => {
    if (m.type() !== "error" && !/Content.Security.Policy|Trusted/.test(m.text())) return;
    if (/Failed to load resource/.test(m.text())) return; // answers that refuse, which pages show
    page.faults.push(`console: ${m.text()}`);
  });
  page.on("request", (r) => {
    if (new URL(r.url()).host !== http && !/^(blob|data):/.test(r.url())) page.faults.push(`asked ${r.url()}`);
  });
  await page.goto(`http://${http}/`);
  return page;
}

export function noFaults(page) {
  assert.deepEqual(page.faults, []);
}

export async function logIn(page, user, password = user) {
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
  await page.getByRole("navigation", { name: "Pages", exact: true }).waitFor();
}

// visit goes to a page by its address, as a link from elsewhere would, and waits for its heading.
export async function visit(page, path, heading) {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, `#/${path}`);
  await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  await page.waitForFunction(() => !document.querySelector("tr.loading"));
}

// accessible wants no violation of WCAG's A and AA, as far as a program can tell. dark: only the contrast is looked at, which without contrast
// is not: it takes most of the time.
export async function accessible(page, what, { dark = false, contrast = true } = {}) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const rules = dark
    ? { runOnly: { type: "rule", values: ["color-contrast"] } }
    : {
        runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] },
        rules: { "color-contrast": { enabled: contrast } },
      };
  const found = await page.evaluate((r) => globalThis.axe.run(document, { ...r, resultTypes: ["violations"] }), rules);
  const lines = found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`));
  assert.deepEqual(lines, [], `${what} is not accessible`);
}

// fits wants no part of a page to stand out of a narrow window.
export async function fits(page, what) {
  const out = await page.evaluate(() =>
    document.documentElement.scrollWidth <= innerWidth
      ? []
      : [...document.querySelectorAll("main *")]
          .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".table-scroll, .tabs"))
          .slice(0, 5)
          .map((e) => `${e.tagName} ${e.className}`),
  );
  assert.deepEqual(out, [], `${what} is wider than the window`);
}

// shot keeps a picture of a page, when pictures are wanted.
export async function shot(page, name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}
