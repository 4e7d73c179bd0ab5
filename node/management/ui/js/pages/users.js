// Users and what they may do.

import { adminPage } from "../admin.js";
import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { number } from "../format.js";
import { folded, form, sure } from "../form.js";
import { userTags } from "../known.js";
import { badge, card, values } from "../parts.js";
import { go, link } from "../router.js";
import { session } from "../session.js";
import { dataTable, plainTable } from "../table.js";
import { attempt, say } from "../toast.js";

const userLink = (name) => h("a", { href: link("admin", "users", name), class: "name" }, name);
const limitsText = (limits) =>
  Object.entries(limits ?? {})
    .map(([k, v]) => `${k} ${number(v)}`)
    .join(", ") || h("span", { class: "zero" }, "none");

const tagsField = (tags = []) => {
  const known = new Set(userTags.map(([t]) => t));
  const boxes = userTags.map(([tag, about]) => [tag, h("input", { type: "checkbox", checked: tags.includes(tag) }), about]);
  const other = h("input", {
    type: "text",
    value: tags.filter((t) => !known.has(t)).join(", "),
    "aria-label": "Other tags",
    placeholder: "other tags, with commas between",
  });
  return {
    name: "tags",
    element: h(
      "fieldset",
      { class: "field wide" },
      h("legend", {}, "Tags"),
      boxes.map(([tag, box, about]) => h("label", { class: "check" }, box, h("span", {}, tag, h("span", { class: "muted" }, `: ${about}`)))),
      other,
    ),
    read: () => [
      ...boxes.filter(([, box]) => box.checked).map(([tag]) => tag),
      ...other.value
        .split(",")
        .map((t) => t.trim())
        .filter(Boolean),
    ],
  };
};

export function usersPage(context) {
  const table = dataTable(context, {
    id: "users",
    caption: "Users",
    sort: "name",
    filter: "Filter users by name",
    one: "user",
    key: (u) => u.name,
    load: async (query, signal) => {
      const [users, permissions] = await Promise.all([
        api.get(["users"], query, signal),
        api.get(["permissions"], { columns: "user,vhost" }, signal),
      ]);
      for (const u of users.items) u.vhosts = permissions.filter((p) => p.user === u.name).map((p) => p.vhost);
      return users;
    },
    columns: [
      { id: "name", label: "Name", sort: "name", cell: (u) => userLink(u.name) },
      {
        id: "tags",
        label: "Tags",
        cell: (u) =>
          h(
            "span",
            { class: "badges" },
            u.tags.map((t) => badge(t, { kind: t === "administrator" ? "accent" : "" })),
          ),
      },
      {
        id: "vhosts",
        label: "Virtual hosts",
        from: "m",
        cell: (u) => u.vhosts.join(", ") || h("span", { class: "warn-text" }, "none: may not log in to AMQP"),
      },
      { id: "limits", label: "Limits", from: "l", cell: (u) => limitsText(u.limits) },
      {
        id: "password",
        label: "Password",
        from: "l",
        cell: (u) => (u.password_hash ? "set" : h("span", { class: "muted" }, "none: no login by password")),
      },
    ],
    empty: [h("p", { class: "empty-title" }, "No users")],
  });
  const add = form({
    label: "Add a user",
    action: "Add user",
    fields: [
      { name: "name", label: "Name", required: true, autocomplete: "off" },
      { name: "password", label: "Password", type: "password", autocomplete: "new-password" },
      { name: "again", label: "Password once more", type: "password", autocomplete: "new-password" },
      tagsField(),
    ],
    async run(v) {
      if (v.password !== v.again) throw new Error("The two passwords differ.");
      if (v.password === "") throw new Error("Give a password. One without is made by removing it afterwards.");
      await api.put(["users", v.name], { password: v.password, tags: v.tags });
      say(`User ${v.name} is there. It may do nothing until it has permissions.`);
      go("admin", "users", v.name);
    },
  });
  return adminPage("users", "Users", [table.element, folded("Add a user", add.element)]);
}

export function userPage(context) {
  const { name } = context.params;
  const about = h("div", { class: "stack" });
  context.live(
    async (signal) => {
      const [user, permissions, topics] = await Promise.all([
        api.get(["users", name], {}, signal),
        api.get(["users", name, "permissions"], {}, signal),
        api.get(["users", name, "topic-permissions"], {}, signal),
      ]);
      return { user, permissions, topics };
    },
    ({ user, permissions, topics }) =>
      fill(
        about,
        permissionCard(context, permissions),
        topicCard(context, topics),
        card("Limits", values(user.limits), h("p", { class: "help" }, h("a", { href: link("admin", "limits") }, "Change limits"))),
      ),
  );

  const change = h("div", { class: "columns" });
  api
    .get(["users", name])
    .then((user) =>
      fill(
        change,
        card(
          "Tags",
          form({
            label: "Change tags",
            action: "Save tags",
            reset: false,
            fields: [tagsField(user.tags)],
            async run(v) {
              await api.put(["users", name, "tags"], { tags: v.tags });
              say("The tags are saved.");
              await context.refresh();
            },
          }).element,
        ),
        card(
          "Password",
          form({
            label: "Change password",
            action: "Set password",
            fields: [
              { name: "password", label: "New password", type: "password", autocomplete: "new-password", required: true },
              { name: "again", label: "Once more", type: "password", autocomplete: "new-password" },
            ],
            async run(v) {
              if (v.password !== v.again) throw new Error("The two passwords differ.");
              await api.put(["users", name, "password"], { password: v.password });
              say(name === session.user ? "The password is set. Log in with it now." : "The password is set.");
            },
            extra: h("button", { type: "button", onclick: () => clear(name) }, "Remove password"),
          }).element,
        ),
      ),
    )
    .catch((e) => context.problem(e));

  return adminPage("users", name, [about, grant(context, { user: name }), grantTopic(context, { user: name }), change], {
    about: "User",
    crumbs: [["Users", link("admin", "users")]],
    actions: name === session.user ? null : h("button", { type: "button", class: "danger-line", onclick: () => remove(name) }, "Delete"),
  });
}

async function clear(name) {
  const yes = await sure({
    title: `Remove the password of ${name}?`,
    action: "Remove password",
    text: "Then nobody can log in with a password as this user.",
  });
  if (yes) await attempt("The password is removed.", () => api.delete(["users", name, "password"]));
}

async function remove(name) {
  const yes = await sure({
    title: `Delete user ${name}?`,
    action: "Delete user",
    typed: name,
    text: "Its connections are closed when they next ask for something.",
  });
  if (yes && (await attempt(`User ${name} is deleted.`, () => api.delete(["users", name])))) go("admin", "users");
}

const pattern = (text) => (text === "" ? h("span", { class: "zero" }, "nothing") : h("code", {}, text));

function permissionCard(context, list) {
  const take = async (p) => {
    const yes = await sure({
      title: "Take the permissions away?",
      action: "Take away",
      text: `User ${p.user} may then do nothing in virtual host ${p.vhost}.`,
    });
    if (yes && (await attempt("The permissions are gone.", () => api.delete(["permissions", p.vhost, p.user])))) await context.refresh();
  };
  return h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "Permissions")),
    list.length === 0
      ? h(
          "div",
          { class: "empty" },
          h("p", { class: "empty-title" }, "No permissions"),
          h("p", {}, "A user may enter a virtual host only with permissions in it. Grant some below."),
        )
      : plainTable(
          "Permissions",
          ["User", "Virtual host", { label: "Configure", from: "s" }, { label: "Write", from: "s" }, { label: "Read", from: "s" }, ""],
          list.map((p) => ({
            key: `${p.user}\u0000${p.vhost}`,
            cells: [
              userLink(p.user),
              p.vhost,
              pattern(p.configure),
              pattern(p.write),
              pattern(p.read),
              h(
                "button",
                { type: "button", class: "small", "aria-label": `Take away permissions of ${p.user} in ${p.vhost}`, onclick: () => take(p) },
                "Take away",
              ),
            ],
          })),
        ),
  );
}

function topicCard(context, list) {
  const take = async (p) => {
    const yes = await sure({
      title: "Take the topic permission away?",
      action: "Take away",
      text: `Routing keys of ${p.user} at exchange ${p.exchange} are then not limited any more.`,
    });
    if (
      yes &&
      (await attempt("The topic permission is gone.", () => api.delete(["topic-permissions", p.vhost, p.user, p.exchange || "amq.default"])))
    )
      await context.refresh();
  };
  return h(
    "section",
    { class: "card flush" },
    h("header", { class: "card-head" }, h("h2", {}, "Topic permissions")),
    list.length === 0
      ? h("div", { class: "empty" }, h("p", {}, "None: routing keys at topic exchanges are not limited."))
      : plainTable(
          "Topic permissions",
          ["User", "Virtual host", "Exchange", { label: "Write", from: "s" }, { label: "Read", from: "s" }, ""],
          list.map((p) => ({
            key: `${p.user}\u0000${p.vhost}\u0000${p.exchange}`,
            cells: [
              userLink(p.user),
              p.vhost,
              p.exchange || "(default)",
              pattern(p.write),
              pattern(p.read),
              h(
                "button",
                { type: "button", class: "small", "aria-label": `Take away topic permission of ${p.user} at ${p.exchange}`, onclick: () => take(p) },
                "Take away",
              ),
            ],
          })),
        ),
  );
}

export const userField = (user) =>
  user ? null : { name: "user", label: "User", required: true, list: async () => (await api.get(["users"], { columns: "name" })).map((u) => u.name) };
export const placeField = () => ({
  name: "vhost",
  label: "Virtual host",
  type: "select",
  options: session.vhosts,
  value: session.vhost ?? session.vhosts[0],
});

const grant = (context, { user }) =>
  folded(
    "Grant permissions",
    form({
      label: "Grant permissions",
      action: "Grant",
      fields: [
        userField(user),
        placeField(),
        { name: "configure", label: "Configure", value: ".*", help: "Regular expression of names that may be declared and deleted. Empty: none." },
        { name: "write", label: "Write", value: ".*", help: "… that may be published to." },
        { name: "read", label: "Read", value: ".*", help: "… that may be consumed from." },
      ],
      async run(v) {
        await api.put(["permissions", v.vhost, user ?? v.user], { configure: v.configure, write: v.write, read: v.read });
        say("The permissions are granted.");
        await context.refresh();
      },
    }).element,
  );

const grantTopic = (context, { user }) =>
  folded(
    "Limit routing keys (topic permission)",
    form({
      label: "Limit routing keys",
      action: "Set",
      fields: [
        userField(user),
        placeField(),
        { name: "exchange", label: "Topic exchange", required: true },
        { name: "write", label: "Write", value: ".*", help: "Regular expression of routing keys that may be published with." },
        { name: "read", label: "Read", value: ".*", help: "… that may be bound with." },
      ],
      async run(v) {
        await api.put(["topic-permissions", v.vhost, user ?? v.user], { exchange: v.exchange, write: v.write, read: v.read });
        say("The topic permission is set.");
        await context.refresh();
      },
    }).element,
  );

export function permissionsPage(context) {
  const about = h("div", { class: "stack" });
  const here = (list) => list.filter((p) => session.vhost === null || p.vhost === session.vhost);
  context.live(
    async (signal) => {
      const [permissions, topics] = await Promise.all([api.get(["permissions"], {}, signal), api.get(["topic-permissions"], {}, signal)]);
      return { permissions, topics };
    },
    ({ permissions, topics }) => fill(about, permissionCard(context, here(permissions)), topicCard(context, here(topics))),
  );
  return adminPage("permissions", "Permissions", [about, grant(context, {}), grantTopic(context, {})]);
}
