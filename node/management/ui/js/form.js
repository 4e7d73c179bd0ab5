// Forms from descriptions of their fields, and dialogs that ask.

import { h, fill, newID } from "./dom.js";
import { icon } from "./icons.js";

// field makes one: {name, label, type, value, help, options, required, placeholder, ...attributes}. Types are those of inputs, and select,
// textarea, arguments (see argumentsEditor). It returns {element, name, read()}.
export function field(spec) {
  const { name, label, type = "text", value, help, options, list, ...rest } = spec;
  const id = newID(name);
  const about = help ? newID("help") : null;
  const hint = help ? h("p", { class: "help", id: about }, help) : null;
  const attributes = { id, name, "aria-describedby": about, ...rest };
  if (type === "arguments") {
    const editor = argumentsEditor({ label, value, known: spec.known ?? [] });
    return { name, element: h("div", { class: "field wide" }, editor.element, hint), read: editor.read, clear: editor.clear };
  }
  if (type === "checkbox") {
    const input = h("input", { type, checked: Boolean(value), ...attributes });
    input.defaultChecked = Boolean(value); // what a reset gives back
    return { name, input, element: h("div", { class: "field" }, h("label", { class: "check" }, input, label), hint), read: () => input.checked };
  }
  let input;
  if (type === "select") {
    input = h(
      "select",
      attributes,
      options.map((o) => h("option", { value: o.value ?? o, selected: (o.value ?? o) === value }, o.label ?? o)),
    );
    for (const o of input.options) o.defaultSelected = o.selected;
  } else if (type === "textarea") {
    input = h("textarea", { rows: 4, spellcheck: "false", value: value ?? "", ...attributes });
  } else {
    const suggestions = list ? newID("list") : null;
    input = h("input", { type, value: value ?? "", autocomplete: "off", spellcheck: "false", list: suggestions, ...attributes });
    if (list) hintList(input, suggestions, list);
  }
  if (type !== "select") input.defaultValue = value ?? "";
  const wide = type === "textarea" ? " wide" : "";
  const element = h(
    "div",
    { class: `field${wide}` },
    h("label", { for: id }, label, spec.required ? h("span", { class: "must", "aria-hidden": "true" }, " *") : null),
    input,
    hint,
  );
  if (list) element.append(input.suggestions);
  const read = () => (type === "number" ? (input.value === "" ? null : Number(input.value)) : input.value);
  return { name, input, element, read };
}

// hintList puts suggestions beside an input, of a list or of a function that finds them when the input is first used.
function hintList(input, id, list) {
  input.suggestions = h("datalist", { id });
  const show = (names) =>
    fill(
      input.suggestions,
      names.map((n) => h("option", { value: n })),
    );
  if (Array.isArray(list)) show(list);
  else {
    let asked = "";
    const ask = async () => {
      const text = input.value;
      if (asked === `=${text}`) return;
      asked = `=${text}`;
      try {
        show(await list(text));
      } catch {
        /* it is only a help */
      }
    };
    input.addEventListener("focus", ask);
    input.addEventListener("input", ask);
  }
}

// form makes one of fields, among which {group} is a heading: {label, fields, action, run(values), danger, reset}. Errors of run are shown in it, in the server's words.
export function form({ label, fields, action, run, danger = false, reset = true, extra = null }) {
  const parts = fields.filter(Boolean).map((f) => (f.read || f.group ? f : field(f)));
  const all = parts.filter((f) => !f.group);
  const problem = h("div", { role: "alert" });
  const button = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const element = h(
    "form",
    { class: "form", "aria-label": label, onsubmit: submit },
    h(
      "div",
      { class: "fields" },
      parts.map((f) => (f.group ? h("h3", { class: "group" }, f.group) : f.element)),
    ),
    problem,
    h("div", { class: "form-foot" }, button, extra),
  );
  async function submit(event) {
    event.preventDefault();
    fill(problem);
    if (button.disabled) return;
    button.disabled = true;
    try {
      await run(Object.fromEntries(all.map((f) => [f.name, f.read()])));
      if (reset) {
        element.reset();
        for (const f of all) f.clear?.();
      }
    } catch (e) {
      fill(problem, h("p", { class: "problem" }, e.message));
    } finally {
      button.disabled = false;
    }
  }
  return { element, fields: Object.fromEntries(all.map((f) => [f.name, f])) };
}

// folded is a form that opens when it is wanted.
export function folded(title, content, { open = false } = {}) {
  return h("details", { class: "card fold", open }, h("summary", {}, icon("plus"), h("h2", {}, title)), h("div", { class: "fold-body" }, content));
}

const kinds = ["text", "number", "boolean", "JSON"];

function typed(kind, text, key) {
  switch (kind) {
    case "number": {
      const n = Number(text);
      if (text.trim() === "" || !Number.isFinite(n)) throw new Error(`${key}: “${text}” is not a number`);
      return n;
    }
    case "boolean":
      if (!/^(true|false)$/.test(text.trim())) throw new Error(`${key} must be true or false`);
      return text.trim() === "true";
    case "JSON":
      return parseJSON(text, key);
    default:
      return text;
  }
}

export function parseJSON(text, what) {
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new Error(`${what} is not JSON: ${e.message}`);
  }
}

const kindOf = (v) => ({ number: "number", boolean: "boolean", string: "text" })[typeof v] ?? "JSON";

// argumentsEditor edits a table of names and typed values. known are [{name, kind, help, value}] to choose from.
function argumentsEditor({ label, value = {}, known = [] }) {
  const rows = h("div", { class: "args" });
  const add = (name = "", v = "", kind = "text", help = "") => {
    const inputs = {
      key: h("input", { type: "text", value: name, "aria-label": `${label}: name`, placeholder: "name", spellcheck: "false" }),
      value: h("input", {
        type: "text",
        value: v,
        "aria-label": `${label}: value of ${name || "a new entry"}`,
        placeholder: "value",
        spellcheck: "false",
        title: help,
      }),
      kind: h(
        "select",
        { "aria-label": `${label}: type of ${name || "a new entry"}` },
        kinds.map((k) => h("option", { value: k, selected: k === kind }, k)),
      ),
    };
    const row = h(
      "div",
      { class: "arg" },
      inputs.key,
      inputs.value,
      inputs.kind,
      h("button", { type: "button", class: "bare", "aria-label": `Remove ${name || "this entry"}`, onclick: () => row.remove() }, icon("close")),
    );
    row.inputs = inputs;
    rows.append(row);
    return inputs;
  };
  for (const [k, v] of Object.entries(value)) add(k, kindOf(v) === "text" ? v : JSON.stringify(v), kindOf(v));
  const more = h("button", { type: "button", class: "small", onclick: () => add().key.focus() }, icon("plus"), "Add");
  const choice = known.length
    ? h(
        "select",
        {
          "aria-label": `${label}: add a known one`,
          onchange: (e) => {
            const k = known.find((one) => one.name === e.target.value);
            e.target.value = "";
            if (k) add(k.name, k.value ?? "", k.kind ?? "text", k.help).value.focus();
          },
        },
        h("option", { value: "" }, "Add a known one…"),
        known.map((k) => h("option", { value: k.name }, `${k.name}: ${k.help}`)),
      )
    : null;
  const element = h("fieldset", { class: "args-set" }, h("legend", {}, label), rows, h("div", { class: "args-add" }, more, choice));
  const read = () => {
    const all = Object.create(null); // names may be "constructor"
    for (const { inputs } of rows.children) {
      const key = inputs.key.value.trim();
      if (key === "" && inputs.value.value === "") continue;
      if (key === "") throw new Error(`${label}: a value has no name`);
      if (key in all) throw new Error(`${label}: ${key} is there twice`);
      all[key] = typed(inputs.kind.value, inputs.value.value, key);
    }
    return all;
  };
  return { element, read, clear: () => rows.replaceChildren() };
}

// dialog shows content above the page until it is closed, and returns what it was closed with.
export function dialog(title, build) {
  return new Promise((resolve) => {
    const label = newID("dialog");
    const close = (result) => {
      box.returnValue = "";
      box.result = result;
      box.close();
    };
    const box = h("dialog", {
      "aria-labelledby": label,
      onclose: () => {
        box.remove();
        resolve(box.result);
      },
    });
    box.append(
      h(
        "header",
        {},
        h("h2", { id: label }, title),
        h("button", { type: "button", class: "bare", "aria-label": "Close", onclick: () => close() }, icon("close")),
      ),
      ...[build(close)].flat(),
    );
    document.body.append(box);
    box.showModal();
    box.querySelector("[autofocus], input:not([type=checkbox]), textarea, select")?.focus();
  });
}

// sure asks before something that cannot be undone. With typed the user has to type that name first.
export const sure = ({ title, text, action, typed: name }) =>
  dialog(title, (close) => [
    h(
      "div",
      { class: "dialog-text" },
      [text]
        .flat()
        .filter(Boolean)
        .map((t) => (t instanceof Node ? t : h("p", {}, t))),
    ),
    form({
      label: title,
      action,
      danger: true,
      fields: name === undefined ? [] : [{ name: "typed", label: `Type ${name} to confirm`, required: true, autofocus: true }],
      extra: h("button", { type: "button", autofocus: name === undefined, onclick: () => close(false) }, "Cancel"),
      run: async (values) => {
        if (name !== undefined && values.typed !== name) throw new Error(`That is not ${name}.`);
        close(true);
      },
    }).element,
  ]);
