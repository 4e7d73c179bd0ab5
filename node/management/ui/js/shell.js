// The frame around all pages: where one is, where one can go, and what holds for all of them.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { interval, intervals, refreshAll, setInterval } from "./live.js";
import { link } from "./router.js";
import { may, prefs, session, whenClusterIsNamed, whenVHostsChange } from "./session.js";
import { statusBanner, whenLeaderKnown } from "./status.js";

const sections = [
  ["overview", "Overview"],
  ["connections", "Connections"],
  ["channels", "Channels"],
  ["exchanges", "Exchanges"],
  ["queues", "Queues"],
  ["route", "Route preview"],
  ["traces", "Traces", may.monitor],
  ["cluster", "Cluster", may.monitor],
  ["admin", "Admin", may.makePolicies],
];

export const logo = () =>
  h(
    "svg",
    { class: "logo", viewBox: "0 0 32 32", "aria-hidden": "true" },
    h("rect", { width: 32, height: 32, rx: 8, class: "logo-ground" }),
    h("path", { d: "M7 25V14.500a4.500 4.500 0 0 1 9 0V25m0-10.500a4.500 4.500 0 0 1 9 0V25", class: "logo-line" }),
    h("circle", { cx: 11.5, cy: 21, r: 1.9, class: "logo-dot" }),
    h("circle", { cx: 20.5, cy: 21, r: 1.9, class: "logo-dot" }),
  );

// shell returns {element, main, select(section)}.
export function shell({ onLeave, onVHost }) {
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = new Map(sections.filter(([, , shown]) => !shown || shown()).map(([id, label]) => [id, h("a", { href: link(id) }, icon(id), label)]));
  const nav = h(
    "nav",
    { id: "nav", class: "side", "aria-label": "Pages" },
    h(
      "ul",
      {},
      [...links.values()].map((a) => h("li", {}, a)),
    ),
    h("p", { class: "side-foot" }, `Warren ${session.version}`),
  );
  const menu = h(
    "button",
    {
      type: "button",
      class: "bare menu-button",
      "aria-expanded": "false",
      "aria-controls": "nav",
      "aria-label": "Pages",
      onclick: () => open(!isOpen()),
    },
    icon("menu"),
  );
  const isOpen = () => menu.getAttribute("aria-expanded") === "true";
  const open = (yes) => {
    menu.setAttribute("aria-expanded", String(yes));
    nav.classList.toggle("open", yes);
    if (yes) nav.querySelector("a")?.focus();
  };
  nav.addEventListener("click", (e) => {
    if (e.target.closest("a")) open(false);
  });
  nav.addEventListener("keydown", (e) => {
    if (e.key === "Escape") {
      open(false);
      menu.focus();
    }
  });

  const node = h("span", { class: "where" });
  const leads = h("span", { class: "leads" });
  const name = () => fill(node, h("strong", {}, session.cluster), h("span", { class: "from-m" }, ` via ${session.node}`));
  name();
  whenClusterIsNamed(name);
  whenLeaderKnown((leader) =>
    fill(
      leads,
      leader ? h("span", {}, h("span", { class: "pip good" }), `Leader ${leader}`) : h("span", {}, h("span", { class: "pip bad" }), "No leader"),
    ),
  );

  const vhost = h(
    "select",
    { "aria-label": "Virtual host", title: "Virtual host", onchange: (e) => onVHost(e.target.value === "" ? null : e.target.value.slice(1)) },
    choices(),
  );
  whenVHostsChange(() => vhost.replaceChildren(...choices()));
  const every = h(
    "select",
    { "aria-label": "Refresh", title: "How often the page is brought up to date", onchange: (e) => setInterval(Number(e.target.value)) },
    intervals.map((s) => h("option", { value: s, selected: s === interval() }, s ? `Every ${s} s` : "By hand")),
  );

  const header = h(
    "header",
    { class: "top" },
    menu,
    h("a", { href: link("overview"), class: "brand", "aria-label": "Warren: overview" }, logo(), h("span", { class: "from-m" }, "Warren")),
    node,
    h("span", { class: "from-m" }, leads),
    h("span", { class: "grow" }),
    vhost,
    h(
      "span",
      { class: "joined" },
      every,
      h("button", { type: "button", "aria-label": "Refresh now", title: "Refresh now", onclick: refreshAll }, icon("refresh")),
    ),
    themeButton(),
    userMenu(onLeave),
  );
  const element = h("div", { class: "shell" }, header, nav, h("div", { class: "content" }, statusBanner, main));
  return {
    element,
    main,
    select(section) {
      for (const [id, a] of links) {
        if (id === section) a.setAttribute("aria-current", "page");
        else a.removeAttribute("aria-current");
      }
      open(false);
    },
  };
}

const choices = () => [
  h("option", { value: "", selected: session.vhost === null }, "All virtual hosts"),
  ...session.vhosts.map((v) => h("option", { value: `=${v}`, selected: v === session.vhost }, v)),
];

const themes = { "": "as the system", light: "light", dark: "dark" };

function themeButton() {
  const label = () => `Theme: ${themes[document.documentElement.dataset.theme ?? ""]}. Change`;
  const button = h(
    "button",
    {
      type: "button",
      class: "bare",
      "aria-label": label(),
      title: label(),
      onclick: () => {
        const names = Object.keys(themes);
        const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
        if (next) document.documentElement.dataset.theme = next;
        else delete document.documentElement.dataset.theme;
        prefs.set("theme", next);
        button.setAttribute("aria-label", label());
        button.title = label();
      },
    },
    icon("theme"),
  );
  return button;
}

const userMenu = (onLeave) =>
  h(
    "details",
    { class: "menu right" },
    h("summary", { class: "bare button", "aria-label": `User ${session.user}` }, icon("admin"), h("span", { class: "from-m" }, session.user)),
    h(
      "div",
      { class: "menu-body" },
      h("p", {}, h("strong", {}, session.user)),
      h("p", { class: "muted" }, session.tags.join(", ") || "no tags"),
      h("button", { type: "button", onclick: onLeave }, icon("logout"), "Log out"),
    ),
  );

// Menus close with Escape, and when one clicks or goes elsewhere.
document.addEventListener("click", (e) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(e.target)) menu.open = false;
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
