// The one table of all pages. Sorting, filtering by name and pages are the server's work, so that ten thousand rows cost as little
// as ten; what is chosen stands in the page's address.

import { h, fill, newID } from "./dom.js";
import { icon } from "./icons.js";
import { prefs } from "./session.js";
import { number, plural } from "./format.js";

const sizes = [25, 50, 100, 200, 500];

// dataTable makes a table and keeps it up to date. The options:
//   id, caption    its name for what is remembered, and its name for readers
//   load(query, signal)  asks the server: an answer with pages, or with paged false a list
//   columns        [{id, label, cell(row), sort, num, from, off, title}]; sort is the server's field, num aligns right, from is the
//                  least width of the window at which it is shown (s, m, l), off hides it until it is chosen
//   key(row)       what tells a row from others
//   empty          nodes that say what to do when there is nothing
//   filter         label of the field that filters by name; none without it
//   paged          false: the list is short and comes whole
//   prefix         before the names of parameters in the address, where a page has two tables
//   choosable      false: all columns stay
//   needs          fields that are always asked for; with it only the fields of the columns shown are asked for (column.needs)
export function dataTable(context, options) {
  const { columns, prefix = "", paged = true } = options;
  const param = (name) => prefix + name;
  const state = {
    page: Number(context.query.get(param("page"))) || 1,
    size: prefs.get("pagesize", 50),
    name: context.query.get(param("name")) ?? "",
    regex: context.query.get(param("regex")) === "true",
    sort: context.query.get(param("sort")) ?? options.sort ?? "",
    reverse: (context.query.get(param("desc")) ?? String(options.reverse ?? false)) === "true",
    hidden: new Set(
      prefs.get(
        `hidden.${options.id}`,
        columns.filter((c) => c.off).map((c) => c.id),
      ),
    ),
  };
  const caption = newID("caption");
  const head = h("thead");
  const body = h("tbody");
  const foot = h("div", { class: "table-foot" });
  const none = h("div", { class: "empty" });
  const table = h("table", { class: "data", "aria-labelledby": caption }, h("caption", { id: caption, class: "hide" }, options.caption), head, body);
  const scroll = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-labelledby": caption }, table);
  const said = h("p", { class: "hide", role: "status" });
  const choosable = columns.length > 4 && options.choosable !== false;
  let last = null;

  const shown = () => columns.filter((c) => !state.hidden.has(c.id));

  function query() {
    const q = { sort: state.sort, sort_reverse: state.sort && state.reverse ? "true" : "" };
    if (paged) Object.assign(q, { page: state.page, page_size: state.size, name: state.name, use_regex: state.regex ? "true" : "false" });
    if (options.needs) q.columns = [...new Set([...options.needs, ...shown().flatMap((c) => c.needs ?? (c.sort ? [c.sort] : []))])].join(",");
    return q;
  }

  async function load(signal) {
    try {
      const answer = await options.load(query(), signal);
      return Array.isArray(answer) ? { items: answer, total_count: answer.length, filtered_count: answer.length, page: 1, page_count: 1 } : answer;
    } catch (e) {
      if (e.type === "page_out_of_range" && state.page > 1) {
        // rows have gone meanwhile
        state.page = 1;
        return load(signal);
      }
      throw e;
    }
  }

  const widths = (c) => [c.num ? "num" : "", c.from ? `from-${c.from}` : "", c.class ?? ""].filter(Boolean).join(" ") || null;

  function drawHead() {
    fill(
      head,
      h(
        "tr",
        {},
        shown().map((c) => {
          const sorted = c.sort && state.sort === c.sort;
          if (c.label === "") return h("td", { "data-key": c.id });
          return h(
            "th",
            {
              scope: "col",
              class: widths(c),
              "data-key": c.id,
              title: c.title,
              "aria-sort": c.sort ? (sorted ? (state.reverse ? "descending" : "ascending") : "none") : null,
            },
            c.sort
              ? h(
                  "button",
                  { type: "button", class: sorted ? "sort sorted" : "sort", onclick: () => sortBy(c) },
                  c.label,
                  sorted ? icon(state.reverse ? "down" : "up") : null,
                )
              : c.label,
          );
        }),
      ),
    );
  }

  function draw(answer) {
    last = answer;
    const items = answer.items;
    drawHead();
    const visible = shown();
    fill(
      body,
      items.map((row) =>
        h(
          "tr",
          { "data-key": options.key(row), class: options.rowClass?.(row) ?? null },
          visible.map((c, i) => h(i === 0 ? "th" : "td", { class: widths(c), scope: i === 0 ? "row" : null }, c.cell(row))),
        ),
      ),
    );
    const nothing = items.length === 0;
    scroll.hidden = nothing;
    fill(
      none,
      !nothing
        ? []
        : answer.total_count > 0 && state.name
          ? [
              h("p", {}, `Nothing among ${number(answer.total_count)} has “${state.name}” in its name.`),
              h("button", { type: "button", onclick: () => filterBy("") }, "Show all"),
            ]
          : options.empty,
    );
    none.hidden = !nothing;
    drawFoot(answer);
    options.onAnswer?.(answer);
  }

  function drawFoot(answer) {
    const first = (answer.page - 1) * state.size;
    const text =
      answer.filtered_count === 0
        ? ""
        : answer.page_count > 1
          ? `${number(first + 1)}–${number(first + answer.items.length)} of ${number(answer.filtered_count)}`
          : plural(answer.filtered_count, options.one ?? "row", options.many);
    const more = answer.filtered_count < answer.total_count ? `, filtered from ${number(answer.total_count)}` : "";
    fill(foot, h("span", { class: "count" }, text + (text ? more : "")), answer.page_count > 1 ? pager(answer) : null);
    foot.hidden = text === "";
  }

  const pager = (answer) =>
    h(
      "nav",
      { class: "pager", "aria-label": `Pages of ${options.caption}` },
      h(
        "button",
        { type: "button", class: "small", disabled: answer.page <= 1, "aria-label": "Previous page", onclick: () => turn(answer.page - 1) },
        icon("left"),
      ),
      h("span", {}, `Page ${number(answer.page)} of ${number(answer.page_count)}`),
      h(
        "button",
        {
          type: "button",
          class: "small",
          disabled: answer.page >= answer.page_count,
          "aria-label": "Next page",
          onclick: () => turn(answer.page + 1),
        },
        icon("right"),
      ),
    );

  // change takes up a choice, puts it into the address and loads anew.
  async function change(values) {
    Object.assign(state, values);
    const usual = state.sort === (options.sort ?? "") && state.reverse === (options.reverse ?? false);
    context.remember({
      [param("page")]: state.page > 1 ? state.page : null,
      [param("name")]: state.name,
      [param("regex")]: state.regex || null,
      [param("sort")]: usual ? null : state.sort,
      [param("desc")]: usual ? null : state.reverse,
    });
    drawHead();
    await loop.refresh();
    if (last) said.textContent = `${options.caption}: ${plural(last.filtered_count, options.one ?? "row", options.many)}, page ${last.page}`;
  }

  const turn = (page) => change({ page });
  const filterBy = (name) => {
    if (field) field.value = name;
    return change({ name, page: 1 });
  };
  const sortBy = (c) => change({ sort: c.sort, page: 1, reverse: state.sort === c.sort ? !state.reverse : Boolean(c.num) });

  let field = null;
  let waiting = 0;
  function filterField() {
    field = h("input", {
      type: "search",
      id: newID("filter"),
      value: state.name,
      placeholder: "Filter by name",
      "aria-label": options.filter,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => change({ name: field.value, page: 1 }), 250);
      },
    });
    const regex = h("input", { type: "checkbox", checked: state.regex, onchange: (e) => change({ regex: e.target.checked, page: 1 }) });
    return [field, h("label", { class: "check", title: "The text is a regular expression" }, regex, "Regex")];
  }

  const chooser = () =>
    h(
      "details",
      { class: "menu" },
      h("summary", { class: "button", "aria-label": `Columns of ${options.caption}` }, icon("columns"), h("span", { class: "from-m" }, "Columns")),
      h(
        "div",
        { class: "menu-body" },
        h(
          "fieldset",
          {},
          h("legend", {}, "Columns"),
          columns
            .slice(1)
            .map((c) =>
              h(
                "label",
                { class: "check" },
                h("input", { type: "checkbox", checked: !state.hidden.has(c.id), onchange: (e) => showColumn(c, e.target.checked) }),
                c.label,
              ),
            ),
        ),
        paged
          ? h(
              "label",
              { class: "row" },
              "Rows on a page ",
              h(
                "select",
                {
                  onchange: (e) => {
                    prefs.set("pagesize", Number(e.target.value));
                    change({ size: Number(e.target.value), page: 1 });
                  },
                },
                sizes.map((n) => h("option", { value: n, selected: n === state.size }, n)),
              ),
            )
          : null,
      ),
    );

  function showColumn(c, on) {
    if (on) state.hidden.delete(c.id);
    else state.hidden.add(c.id);
    prefs.set(`hidden.${options.id}`, [...state.hidden]);
    change({});
  }

  const tools = h(
    "div",
    { class: "table-tools" },
    options.filter ? filterField() : null,
    options.tools ?? null,
    h("span", { class: "grow" }),
    choosable ? chooser() : null,
  );
  const element = h(
    "section",
    { class: "card flush" },
    options.title ? h("header", { class: "card-head" }, h("h2", {}, options.title), options.headActions ?? null) : null,
    options.filter || choosable || options.tools ? tools : null,
    scroll,
    none,
    foot,
    said,
  );
  none.hidden = true;
  foot.hidden = true;
  drawHead();
  fill(body, h("tr", { class: "loading" }, h("td", { colspan: columns.length }, "Loading…")));
  const loop = context.live(load, draw, (e) => {
    context.problem(e);
    if (e && !last) fill(body); // nothing will come
  });
  context.onEnd(() => clearTimeout(waiting));
  return { element, refresh: loop.refresh, state };
}

// plainTable is a table of rows that are at hand: head is a list of labels, or {label, num}; rows are lists of cells.
export function plainTable(caption, head, rows, { hideCaption = true } = {}) {
  const label = newID("caption");
  const columns = head.map((c) => (typeof c === "string" ? { label: c } : c));
  const cls = (c) => [c.num ? "num" : "", c.from ? `from-${c.from}` : ""].filter(Boolean).join(" ") || null;
  return h(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-labelledby": label },
    h(
      "table",
      { class: "data" },
      h("caption", { id: label, class: hideCaption ? "hide" : null }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((c) => (c.label === "" ? h("td") : h("th", { scope: "col", class: cls(c), title: c.title }, c.label))),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            { "data-key": row.key },
            (row.cells ?? row).map((cell, i) => h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: cls(columns[i]) }, cell)),
          ),
        ),
      ),
    ),
  );
}

// facts is a list of names and values.
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"))),
  );
