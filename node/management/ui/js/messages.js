// Messages as the API shows them, in a table, and one of them in full.

import { h } from "./dom.js";
import { bytes, duration, exact, isDate, number, valueText } from "./format.js";
import { dialog } from "./form.js";
import { badge, state, time, values } from "./parts.js";
import { facts, plainTable } from "./table.js";

const kinds = { ready: "good", unacknowledged: "warn", parked: "bad", delayed: "" };

// sentAt is the time that the publisher has put on a message, in milliseconds; null when it has none, or one that is no date.
const sentAt = (m) => (m.properties.timestamp && isDate(m.properties.timestamp * 1000) ? m.properties.timestamp * 1000 : null);

const age = (m) => {
  const sent = sentAt(m);
  return sent === null
    ? h("span", { class: "zero", title: "The publisher has put no time on it" }, "–")
    : h("time", { title: exact(sent), datetime: new Date(sent).toISOString() }, duration(Math.max(0, Date.now() - sent)));
};

export function messageTable(list, { browsed = false, whole = null } = {}) {
  const head = [
    browsed ? { label: "Sequence" } : "No.",
    ...(browsed ? ["State"] : []),
    "Routing key",
    { label: "Exchange", from: "m" },
    { label: "Age", num: true, from: "m", title: "by the timestamp that the publisher has set" },
    { label: "Returned", num: true, from: "l", title: "how often it came back" },
    { label: "Size", num: true, from: "s" },
    { label: "Payload", from: "m" },
  ];
  return plainTable(
    "Messages",
    head,
    list.map((m, i) => ({
      key: m.sequence ?? i,
      cells: [
        h(
          "button",
          { type: "button", class: "text", "aria-label": `Show message ${m.sequence ?? i + 1}`, onclick: () => show(m, whole) },
          browsed ? m.sequence : number(i + 1),
        ),
        ...(browsed ? [state(m.state, kinds[m.state] ?? "")] : []),
        m.routing_key || h("span", { class: "zero" }, "(empty)"),
        m.exchange || h("span", { class: "zero" }, "(default)"),
        age(m),
        m.delivery_count ? number(m.delivery_count) : m.redelivered ? badge("redelivered") : h("span", { class: "zero" }, "0"),
        bytes(m.payload_bytes),
        h("span", { class: "preview" }, m.payload_encoding === "string" ? m.payload.slice(0, 200) : "(binary)"),
      ],
    })),
  );
}

// show opens a message. whole(message) fetches it with all of its payload.
async function show(m, whole) {
  let message = m;
  let failure = "";
  if (whole) {
    try {
      message = (await whole(m)) ?? m;
    } catch (e) {
      failure = e.message;
    }
  }
  const { headers, ...properties } = message.properties;
  const death = headers?.["x-death"]; // a publisher may set it, to anything
  await dialog(message.sequence ? `Message ${message.sequence}` : "Message", () =>
    h(
      "div",
      { class: "stack" },
      failure ? h("p", { class: "note" }, `This is what was shown before: ${failure}`) : null,
      facts([
        message.state ? ["State", state(message.state, kinds[message.state] ?? "")] : null,
        ["Exchange", message.exchange || "(default)"],
        ["Routing key", message.routing_key || "(empty)"],
        ["Redelivered", message.redelivered ? "yes" : "no"],
        message.delivery_count !== undefined ? ["Came back", `${number(message.delivery_count)} times`] : null,
        ["Payload", bytes(message.payload_bytes)],
        sentAt(message) ? ["Timestamp", time(sentAt(message))] : null,
        message.expires_at ? ["Expires", time(Date.parse(message.expires_at))] : null,
      ]),
      h("div", {}, h("h3", {}, "Properties"), values(properties)),
      h("div", {}, h("h3", {}, "Headers"), values(headers)),
      Array.isArray(death) ? deaths(death) : null,
      h("div", {}, h("h3", {}, payloadTitle(message)), h("pre", { class: "payload", tabindex: "0" }, payloadText(message))),
    ),
  );
}

const deaths = (list) =>
  h(
    "div",
    {},
    h("h3", {}, "Where it died"),
    plainTable(
      "Deaths",
      ["Queue", "Reason", { label: "Times", num: true }, { label: "First", from: "s" }],
      list.map((d, i) => ({
        key: i,
        cells: [d?.queue ?? "–", d?.reason ?? "–", number(d?.count), time(typeof d?.time === "number" ? d.time * 1000 : null)].map((c) =>
          c instanceof Node ? c : valueText(c),
        ),
      })),
    ),
  );

function payloadTitle(m) {
  const part = partial(m) ? `, the first ${bytes(shownBytes(m))} of ${bytes(m.payload_bytes)}` : "";
  return `Payload${m.payload_encoding === "base64" ? " (base64)" : ""}${part}`;
}

const shownBytes = (m) =>
  m.payload_encoding === "base64" ? Math.floor((m.payload.replace(/=+$/, "").length * 3) / 4) : new TextEncoder().encode(m.payload).length;
const partial = (m) => shownBytes(m) < m.payload_bytes;

// payloadText lays out JSON that is whole; all else is shown as it is.
function payloadText(m) {
  if (m.payload_bytes === 0) return "(empty)";
  if (m.payload_encoding === "string" && /^\s*[[{]/.test(m.payload) && !partial(m)) {
    try {
      return JSON.stringify(JSON.parse(m.payload), null, 2);
    } catch {
      /* it only looked like it */
    }
  }
  return m.payload;
}
