// Addresses: #/queues/%2F/orders?page=2. What stands between the slashes is encoded, so names may hold any character.

import { h, fill } from "./dom.js";
import { live } from "./live.js";

// link returns the address of a page from segments: link("queues", vhost, name).
export function link(...segments) {
  const query = typeof segments.at(-1) === "object" ? segments.pop() : {};
  const text = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== "")).toString();
  return `#/${segments.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function go(...segments) {
  location.hash = link(...segments);
}

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const segments = path
    .split("/")
    .filter((s) => s !== "")
    .map(plain);
  return { segments, query: new URLSearchParams(query) };
}

function plain(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function match(pattern, segments) {
  const parts = pattern.split("/");
  if (parts.length !== segments.length) return null;
  const params = {};
  for (const [i, part] of parts.entries()) {
    if (part.startsWith(":")) params[part.slice(1)] = segments[i];
    else if (part !== segments[i]) return null;
  }
  return params;
}

// A context is what a page gets: the parts of its address, and loops and timers that end with it.
class Context {
  constructor(params, query, problem) {
    Object.assign(this, { params, query, problem, ends: [], loops: [] });
  }

  // live keeps a part of the page up to date: see live.js.
  live(load, draw, fail = this.problem) {
    const loop = live(load, draw, fail);
    this.loops.push(loop);
    this.onEnd(() => loop.stop());
    return loop;
  }

  refresh() {
    return Promise.all(this.loops.map((l) => l.refresh()));
  }

  onEnd(f) {
    this.ends.push(f);
  }

  // remember puts what the page shows into its address, without making it a new page.
  remember(values) {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined || value === null || value === "") this.query.delete(name);
      else this.query.set(name, value);
    }
    const [path] = location.hash.split("?", 1);
    const text = this.query.toString();
    history.replaceState(null, "", `${path || "#/"}${text ? `?${text}` : ""}`);
  }

  end() {
    for (const f of this.ends.splice(0)) f();
  }
}

// router shows pages in main. A route is [pattern, page, section]; page(context) returns {title, crumbs, body}.
export function router(main, routes, onChange) {
  let current = null;
  let shown = "";

  function show({ focus = true } = {}) {
    const { segments, query } = parse(location.hash || "#/");
    const address = segments.join("\u0000");
    current?.end();
    const problem = h("div", { role: "alert" });
    const report = (e) => fill(problem, e ? h("p", { class: "problem" }, e.message) : []);
    let found = null;
    for (const [pattern, page, section] of routes) {
      const params = match(pattern, segments);
      if (params) {
        found = { page, section, params };
        break;
      }
    }
    const context = new Context(found?.params ?? {}, query, report);
    current = context;
    const view = found ? found.page(context) : missing();
    const title = h("h1", { tabindex: "-1" }, view.title);
    main.replaceChildren(
      h(
        "div",
        { class: "page-head" },
        h("div", {}, view.crumbs ? trail(view.crumbs) : null, title, view.about ? h("p", { class: "about" }, view.about) : null),
        view.actions ? h("div", { class: "actions" }, view.actions) : null,
      ),
      problem,
      ...[view.body].flat().filter(Boolean),
    );
    main.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${view.title} · Warren`;
    onChange(found?.section ?? "");
    if (focus && address !== shown) {
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    shown = address;
  }

  addEventListener("hashchange", show);
  return {
    show,
    stop() {
      removeEventListener("hashchange", show);
      current?.end();
    },
  };
}

const trail = (crumbs) =>
  h(
    "nav",
    { class: "crumbs", "aria-label": "Where you are" },
    h(
      "ol",
      {},
      crumbs.map(([text, href]) => h("li", {}, h("a", { href }, text))),
    ),
  );

const missing = () => ({
  title: "No such page",
  body: h("p", {}, "There is nothing at this address. ", h("a", { href: link("overview") }, "Go to the overview"), "."),
});
