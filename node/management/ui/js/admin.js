// The frame of the pages for administrators.

import { link } from "./router.js";
import { tabs } from "./parts.js";
import { may } from "./session.js";

const list = [
  ["users", "Users", may.administer],
  ["vhosts", "Virtual hosts", may.administer],
  ["permissions", "Permissions", may.administer],
  ["policies", "Policies", may.makePolicies],
  ["limits", "Limits", may.administer],
  ["shovels", "Shovels", may.makePolicies],
  ["parameters", "Parameters", may.makePolicies],
  ["definitions", "Definitions", may.administer],
  ["settings", "Settings", may.administer],
  ["logins", "Logins", () => may.monitor() && may.makePolicies()],
];

// adminPage is a page of the section: its tab and what stands on it.
export const adminPage = (tab, title, body, more = {}) => ({
  title,
  ...more,
  body: [
    tabs(
      "Administration",
      list.filter(([, , shown]) => shown()).map(([id, text]) => [id, text, link("admin", id)]),
      tab,
    ),
    ...[body].flat(),
  ],
});
