// Limits of virtual hosts and of users.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { number } from "../format.js";
import { form } from "../form.js";
import { userLimits, vhostLimits } from "../known.js";
import { card } from "../parts.js";
import { plainTable } from "../table.js";
import { attempt, say } from "../toast.js";
import { placeField, userField } from "./users.js";

export function limitsPage(context) {
  const about = h("div", { class: "columns" });
  context.live(
    async (signal) => {
      const [vhosts, users] = await Promise.all([api.get(["vhost-limits"], {}, signal), api.get(["user-limits"], {}, signal)]);
      return { vhosts, users };
    },
    ({ vhosts, users }) =>
      fill(
        about,
        limitCard(context, "Limits of virtual hosts", "vhost-limits", vhosts, "vhost"),
        limitCard(context, "Limits of users", "user-limits", users, "user"),
      ),
  );
  const set = (title, kind, who, known) =>
    card(
      title,
      form({
        label: title,
        action: "Set limit",
        fields: [
          who,
          {
            name: "limit",
            label: "Limit",
            type: "select",
            options: known.map(([value, label]) => ({ value, label: `most ${label}` })),
            value: known[0][0],
          },
          { name: "value", label: "Value", type: "number", required: true, help: "-1 is none, 0 lets nothing in. What is there stays." },
        ],
        async run(v) {
          await api.put([kind, v[who.name], v.limit], { value: v.value });
          say("The limit is set.");
          await context.refresh();
        },
      }).element,
    );
  return adminPage("limits", "Limits", [
    about,
    h(
      "div",
      { class: "columns" },
      set("Limit a virtual host", "vhost-limits", placeField(), vhostLimits),
      set("Limit a user", "user-limits", userField(), userLimits),
    ),
  ]);
}

function limitCard(context, title, kind, list, who) {
  const rows = list.flatMap((o) => Object.entries(o.value).map(([limit, value]) => ({ name: o[who], limit, value })));
  const clear = (r) => attempt("The limit is gone.", () => api.delete([kind, r.name, r.limit])).then((ok) => ok && context.refresh());
  return h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, title)),
    rows.length === 0
      ? h("div", { class: "empty" }, h("p", {}, "No limits. Set one below."))
      : plainTable(
          title,
          ["Name", "Limit", { label: "Value", num: true }, ""],
          rows.map((r) => ({
            key: `${r.name}\u0000${r.limit}`,
            cells: [
              r.name,
              h("code", {}, r.limit),
              number(r.value),
              h("button", { type: "button", class: "small", "aria-label": `Clear ${r.limit} of ${r.name}`, onclick: () => clear(r) }, "Clear"),
            ],
          })),
        ),
  );
}
