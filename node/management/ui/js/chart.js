// Lines over time, drawn as SVG. The legend is a table of the present values; where the pointer or the arrow keys are, of the
// values at that time.

import { h, fill, newID } from "./dom.js";
import { timeOfDay } from "./format.js";

const height = 168;
const margin = { top: 10, right: 8, bottom: 22, left: 52 };

// chart makes one: {title, series: [{id, label, color}], format, empty}; unit is 1024 for bytes. update takes {times, values: {id: [...]}} with equal lengths,
// the oldest first; null is a value that is not known.
export function chart({ title, series, format, unit = 1000, empty = "Nothing was counted yet.", fill: area = false }) {
  let data = { times: [], values: {} };
  let cursor = null; // index of the time that is looked at
  let width = 0;
  const label = newID("chart");
  const svg = h("svg", { class: "plot", role: "img", "aria-labelledby": label, height });
  const cells = new Map(series.map((s) => [s.id, h("td", { class: "num" }, "–")]));
  const when = h("span", { class: "when" });
  const said = h("p", { class: "hide", role: "status" });
  const legend = h(
    "table",
    { class: "legend" },
    h("caption", { class: "hide" }, `${title}: values`),
    h(
      "tbody",
      {},
      series.map((s) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: `swatch c-${s.color}` }), s.label), cells.get(s.id))),
    ),
  );
  const frame = h(
    "div",
    {
      class: "plot-frame",
      tabindex: "0",
      role: "group",
      "aria-label": `${title}: chart. Arrow keys go through the times.`,
      onpointermove: (e) => look(nearest(e.clientX)),
      onpointerleave: () => look(null),
      onblur: () => look(null),
      onkeydown: (e) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
        const n = data.times.length;
        if (!n) return;
        if (steps) look(Math.min(n - 1, Math.max(0, (cursor ?? n) + steps)), true);
        else if (e.key === "Home") look(0, true);
        else if (e.key === "End") look(n - 1, true);
        else if (e.key === "Escape") look(null);
        else return;
        e.preventDefault();
      },
    },
    svg,
  );
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("h2", { id: label }, title), when), frame, legend, said);

  const x = (i) => {
    const [first, last] = [data.times[0], data.times.at(-1)];
    return margin.left + ((data.times[i] - first) / Math.max(1, last - first)) * (width - margin.left - margin.right);
  };

  function nearest(clientX) {
    if (data.times.length === 0) return null;
    const at = clientX - svg.getBoundingClientRect().left;
    let best = 0;
    for (let i = 1; i < data.times.length; i += 1) if (Math.abs(x(i) - at) < Math.abs(x(best) - at)) best = i;
    return best;
  }

  function look(i, aloud = false) {
    if (i === cursor) return;
    cursor = i;
    draw();
    if (aloud && i !== null) {
      said.textContent = `${timeOfDay(data.times[i])}: ${series.map((s) => `${s.label} ${format(data.values[s.id]?.[i])}`).join(", ")}`;
    }
  }

  function draw() {
    if (width === 0) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const known = series.flatMap((s) => (data.values[s.id] ?? []).filter((v) => v !== null));
    const n = data.times.length;
    for (const s of series) {
      const values = data.values[s.id] ?? [];
      const shown = cursor ?? n - 1;
      cells.get(s.id).textContent = format(values[shown] ?? undefined);
    }
    when.textContent = cursor !== null && n ? timeOfDay(data.times[cursor]) : "";
    if (n < 2 || known.length === 0) {
      fill(svg, h("text", { x: width / 2, y: height / 2, class: "no-data", "text-anchor": "middle" }, empty));
      return;
    }
    const top = nice(Math.max(...known), unit);
    const y = (v) => margin.top + (1 - v / top) * (height - margin.top - margin.bottom);
    fill(
      svg,
      grid(top, y),
      times(n),
      series.map((s) => lines(s, y)),
      cursor === null ? null : mark(y),
    );
  }

  const grid = (top, y) =>
    [0, top / 2, top].map((v) =>
      h(
        "g",
        {},
        h("line", { class: v === 0 ? "axis" : "grid", x1: margin.left, x2: width - margin.right, y1: y(v), y2: y(v) }),
        h("text", { x: margin.left - 6, y: y(v) + 4, "text-anchor": "end" }, format(v)),
      ),
    );

  function times(n) {
    const count = Math.max(2, Math.min(6, Math.floor(width / 110)));
    const span = data.times.at(-1) - data.times[0];
    return Array.from({ length: count }, (_, k) => {
      const i = Math.round((k * (n - 1)) / (count - 1));
      const anchor = k === 0 ? "start" : k === count - 1 ? "end" : "middle";
      return h("text", { x: x(i), y: height - 5, "text-anchor": anchor }, timeOfDay(data.times[i], span < 15 * 60e3));
    });
  }

  function lines(s, y) {
    const values = data.values[s.id] ?? [];
    const parts = [];
    let path = "";
    let from = null;
    for (let i = 0; i <= values.length; i += 1) {
      const v = values[i];
      if (i < values.length && v !== null && v !== undefined) {
        path += `${path ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
        from ??= i;
      } else if (path) {
        if (area) parts.push(h("path", { class: `area c-${s.color}`, d: `${path}L${x(i - 1).toFixed(1)} ${y(0)}L${x(from).toFixed(1)} ${y(0)}Z` }));
        parts.push(h("path", { class: `line c-${s.color}`, d: path }));
        path = "";
        from = null;
      }
    }
    return parts;
  }

  const mark = (y) =>
    h(
      "g",
      {},
      h("line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: margin.top, y2: height - margin.bottom }),
      series.map((s) => {
        const v = data.values[s.id]?.[cursor];
        return v === null || v === undefined ? null : h("circle", { class: `dot c-${s.color}`, cx: x(cursor), cy: y(v), r: 3 });
      }),
    );

  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    draw();
  }).observe(frame);

  return {
    element,
    update(fresh) {
      data = fresh;
      if (cursor !== null && cursor >= data.times.length) cursor = null;
      draw();
    },
  };
}

// nice is a round number that is no less, and whose half is round too.
function nice(n, unit) {
  if (n <= 0) return 1;
  let size = 1;
  while (unit === 1024 && n / size >= 1024) size *= 1024;
  const ten = 10 ** Math.floor(Math.log10(n / size));
  return [1, 2, 4, 6, 8, 10].find((k) => k * ten * size >= n) * ten * size;
}

// The API's samples come with the newest first.

// gauges reads samples as they are: {times, values} from {id: details}. Samples before since are not known.
export function gauges(details, since = 0) {
  const { times, columns } = read(details);
  const values = Object.fromEntries(Object.entries(columns).map(([id, list]) => [id, list.map((v, i) => (times[i] < since ? null : v))]));
  return { times, values };
}

// rates makes rates of samples of counts.
export function rates(details, since = 0) {
  const { times, columns } = read(details);
  const values = Object.fromEntries(
    Object.entries(columns).map(([id, list]) => [
      id,
      list.slice(1).map((v, i) => {
        if (times[i] < since) return null;
        return Math.max(0, ((v - list[i]) * 1000) / (times[i + 1] - times[i])); // counts of a node that was started again begin at 0
      }),
    ]),
  );
  const data = { times: times.slice(1), values };
  // The node has not looked at it yet since the last samples that are alike: that is no pause while its own rate says so.
  const goes = Object.values(details).some((d) => d?.rate > 0);
  while (goes && data.times.length > 2 && Object.values(values).every((list) => !list.at(-1))) {
    data.times.pop();
    for (const list of Object.values(values)) list.pop();
  }
  return data;
}

function read(details) {
  const ids = Object.keys(details);
  const first = ids.map((id) => details[id]?.samples).find((s) => s?.length) ?? [];
  const times = first.map((s) => s.timestamp).reverse();
  const columns = {};
  for (const id of ids) {
    const samples = details[id]?.samples ?? [];
    columns[id] = samples.length === times.length ? samples.map((s) => s.sample).reverse() : times.map(() => null);
  }
  return { times, columns };
}

// spans are how far back charts look: [seconds, seconds between samples, label]. A queue's samples reach back ten minutes.
const spans = [
  [60, 5, "1 min"],
  [600, 5, "10 min"],
  [3600, 60, "1 h"],
  [28800, 600, "8 h"],
  [86400, 1800, "24 h"],
];

// spanChoice is a choice among spans: choice.span is {age, incr} of what is chosen.
export function spanChoice(onChange, { longest = Infinity } = {}) {
  const name = newID("span");
  const choice = { span: { age: 600, incr: 5 } };
  choice.element = h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "hide" }, "Time that charts show"),
    spans
      .filter(([age]) => age <= longest)
      .map(([age, incr, label]) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name,
            checked: age === 600,
            onchange: () => {
              choice.span = { age, incr };
              onChange();
            },
          }),
          h("span", {}, label),
        ),
      ),
  );
  return choice;
}
