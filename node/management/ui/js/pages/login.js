// Name and password.

import { h } from "../dom.js";
import { logo } from "../shell.js";
import { form } from "../form.js";

export const loginPage = ({ message, login }) =>
  h(
    "main",
    { id: "main", class: "login", tabindex: "-1" },
    h(
      "div",
      { class: "card" },
      h("div", { class: "login-brand" }, logo(), h("h1", {}, "Warren")),
      h("p", { class: "muted" }, "Log in with a user of the broker that has one of the tags management, policymaker, monitoring or administrator."),
      message ? h("p", { class: "note", role: "alert" }, message) : null,
      form({
        label: "Log in",
        action: "Log in",
        reset: false,
        fields: [
          { name: "user", label: "Name", autocomplete: "username", required: true, autocapitalize: "none" },
          { name: "password", label: "Password", type: "password", autocomplete: "current-password" },
        ],
        run: ({ user, password }) => login(user, password),
      }).element,
    ),
  );
