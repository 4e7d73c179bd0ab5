// Connections and channels of all nodes, and one of each.

import { api } from "../api.js";
import { consumerTable } from "../consumers.js";
import { fill, h } from "../dom.js";
import { bytes, bytesRate, number, rate } from "../format.js";
import { form, dialog } from "../form.js";
import { badge, card, channelLink, connectionLink, count, state, time, values, vhostColumn, withVHost } from "../parts.js";
import { go, link } from "../router.js";
import { may, session } from "../session.js";
import { dataTable, facts } from "../table.js";
import { attempt } from "../toast.js";

const stateKind = (s) => ({ running: "good", blocked: "warn", blocking: "warn", flow: "warn" })[s] ?? "";

// scopedTo is the path of connections or channels, of the vhost that is chosen.
const scopedTo = (kind) => (session.vhost === null ? [kind] : ["vhosts", session.vhost, kind]);

const product = (c) => [c.client_properties?.product, c.client_properties?.version].filter((v) => typeof v === "string").join(" ");

const connectionColumns = [
  {
    id: "name",
    label: "Name",
    sort: "name",
    cell: (c) => [connectionLink(c.name), c.user_provided_name ? h("div", { class: "muted" }, c.user_provided_name) : null],
  },
  vhostColumn,
  { id: "user", label: "User", sort: "user", from: "s", cell: (c) => c.user },
  { id: "node", label: "Node", sort: "node", from: "m", cell: (c) => c.node },
  { id: "state", label: "State", sort: "state", cell: (c) => state(c.state, stateKind(c.state)) },
  {
    id: "tls",
    label: "TLS",
    sort: "ssl",
    from: "l",
    cell: (c) => (c.ssl ? badge(c.ssl_protocol ?? "TLS", { title: c.ssl_cipher }) : h("span", { class: "zero" }, "no")),
  },
  { id: "client", label: "Client", from: "l", cell: (c) => product(c) || h("span", { class: "zero" }, "–") },
  { id: "channels", label: "Channels", sort: "channels", num: true, from: "m", cell: (c) => count(c.channels) },
  { id: "in", label: "From client", sort: "recv_oct_details.rate", num: true, from: "m", cell: (c) => bytesRate(c.recv_oct_details.rate) },
  { id: "out", label: "To client", sort: "send_oct_details.rate", num: true, from: "m", cell: (c) => bytesRate(c.send_oct_details.rate) },
  { id: "since", label: "Connected", sort: "connected_at", num: true, from: "l", cell: (c) => time(c.connected_at) },
];

export function connectionsPage(context) {
  const table = dataTable(context, {
    id: "connections",
    caption: "Connections",
    columns: withVHost(connectionColumns),
    sort: "name",
    filter: "Filter connections by name",
    one: "connection",
    key: (c) => `${c.node} ${c.name}`,
    load: (query, signal) => api.get(scopedTo("connections"), query, signal),
    empty: [
      h("p", { class: "empty-title" }, "No connections"),
      h(
        "p",
        {},
        may.monitor()
          ? "Clients connect to any node of the cluster, with amqp://, and are listed here."
          : "You see your own connections here. Users with the tag monitoring see all.",
      ),
    ],
  });
  return { title: "Connections", body: table.element };
}

const channelStats = (name) => ({
  sort: `message_stats.${name}_details.rate`,
  num: true,
  cell: (c) => rate(c.message_stats?.[`${name}_details`]?.rate ?? 0),
});

const channelColumns = [
  { id: "name", label: "Channel", sort: "name", cell: (c) => channelLink(c.name) },
  vhostColumn,
  { id: "user", label: "User", sort: "user", from: "s", cell: (c) => c.user },
  { id: "node", label: "Node", sort: "node", from: "m", cell: (c) => c.node },
  {
    id: "mode",
    label: "Mode",
    from: "m",
    cell: (c) =>
      h(
        "span",
        { class: "badges" },
        c.confirm ? badge("C", { title: "publisher confirms" }) : null,
        c.transactional ? badge("T", { title: "transactional" }) : null,
      ),
  },
  { id: "state", label: "State", sort: "state", from: "l", cell: (c) => state(c.state, stateKind(c.state)) },
  {
    id: "unacked",
    label: "Unacked",
    sort: "messages_unacknowledged",
    num: true,
    title: "delivered, not acknowledged yet",
    cell: (c) => count(c.messages_unacknowledged),
  },
  {
    id: "unconfirmed",
    label: "Unconfirmed",
    sort: "messages_unconfirmed",
    num: true,
    from: "l",
    title: "published, not confirmed yet",
    cell: (c) => count(c.messages_unconfirmed),
  },
  {
    id: "prefetch",
    label: "Prefetch",
    sort: "prefetch_count",
    num: true,
    from: "l",
    cell: (c) => count(c.prefetch_count || c.global_prefetch_count),
  },
  { id: "consumers", label: "Consumers", sort: "consumer_count", num: true, from: "m", cell: (c) => count(c.consumer_count) },
  { id: "publish", label: "Publish", from: "m", ...channelStats("publish") },
  { id: "deliver", label: "Deliver", from: "m", ...channelStats("deliver_get") },
  { id: "ack", label: "Ack", from: "l", ...channelStats("ack") },
];

const channelTable = (context, options) =>
  dataTable(context, {
    id: "channels",
    caption: "Channels",
    sort: "name",
    one: "channel",
    columns: withVHost(channelColumns),
    key: (c) => `${c.node} ${c.name}`,
    empty: [h("p", { class: "empty-title" }, "No channels"), h("p", {}, "A client opens channels in its connection to publish and to consume.")],
    ...options,
  });

export function channelsPage(context) {
  const table = channelTable(context, { filter: "Filter channels by name", load: (query, signal) => api.get(scopedTo("channels"), query, signal) });
  return { title: "Channels", body: table.element };
}

// whenGone makes the refusal of an object that has gone a sentence.
const whenGone = (context, what) => (e) =>
  context.problem(e?.status === 404 ? new Error(`This ${what} is not there any more. What is shown is how it was.`) : e);

export function connectionPage(context) {
  const { name } = context.params;
  const about = h("div", { class: "stack" });
  context.live(
    (signal) => api.get(["connections", name], {}, signal),
    (c) =>
      fill(
        about,
        h(
          "dl",
          { class: "tiles" },
          tile("From client", bytesRate(c.recv_oct_details.rate), `${bytes(c.recv_oct)} in all`),
          tile("To client", bytesRate(c.send_oct_details.rate), `${bytes(c.send_oct)} in all`),
          tile("Channels", number(c.channels), c.channel_max ? `at most ${number(c.channel_max)}` : "no limit"),
          tile("Waits to be sent", bytes(c.send_pend), "in the node's buffers"),
        ),
        card(
          "About this connection",
          facts([
            ["State", state(c.state, stateKind(c.state))],
            ["User", c.user],
            ["Virtual host", c.vhost],
            ["Node", c.node],
            ["Connected", time(c.connected_at)],
            ["Protocol", c.protocol],
            ["Login by", c.auth_mechanism],
            ["Heartbeat", c.timeout ? `${c.timeout} s` : "none"],
            ["Largest frame", bytes(c.frame_max)],
            ["Client", `${c.peer_host}:${c.peer_port}`],
            ["Server", `${c.host}:${c.port}`],
            ["TLS", c.ssl ? [c.ssl_protocol, c.ssl_cipher].filter(Boolean).join(", ") : "no"],
            c.peer_cert_subject ? ["Client certificate", c.peer_cert_subject] : null,
            c.peer_cert_validity ? ["Certificate is valid", c.peer_cert_validity] : null,
          ]),
        ),
        card("What the client says of itself", values(c.client_properties)),
      ),
    whenGone(context, "connection"),
  );
  const channels = channelTable(context, {
    id: "connection.channels",
    title: "Channels",
    load: (query, signal) => api.get(["connections", name, "channels"], query, signal),
  });
  return {
    title: name,
    crumbs: [["Connections", link("connections")]],
    actions: h("button", { type: "button", class: "danger-line", onclick: () => close(name) }, "Close"),
    body: [about, channels.element],
  };
}

const tile = (name, value, about) =>
  h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, h("span", { class: "big" }, value), h("span", { class: "about" }, about)));

// close asks for a reason, which the client is told.
async function close(name) {
  const reason = await dialog(
    "Close this connection?",
    (done) =>
      form({
        label: "Close connection",
        action: "Close connection",
        danger: true,
        extra: h("button", { type: "button", onclick: () => done() }, "Cancel"),
        fields: [
          {
            name: "reason",
            label: "Reason",
            value: "Closed via management API",
            help: `${name} is told this. Most clients connect again by themselves.`,
          },
        ],
        run: async (v) => done(v.reason),
      }).element,
  );
  if (reason === undefined) return;
  const header = new TextEncoder().encode(reason).every((b) => b >= 32 && b < 127) ? { "X-Reason": reason } : {};
  if (await attempt("The connection is closed.", () => api.delete(["connections", name], { headers: header }))) go("connections");
}

export function channelPage(context) {
  const { name } = context.params;
  const about = h("div", { class: "stack" });
  const perSecond = (c, of) => rate(c.message_stats?.[`${of}_details`]?.rate ?? 0);
  const total = (c, of) => `${number(c.message_stats?.[of] ?? 0)} in all`;
  context.live(
    (signal) => api.get(["channels", name], {}, signal),
    (c) =>
      fill(
        about,
        h(
          "dl",
          { class: "tiles" },
          tile("Published", perSecond(c, "publish"), total(c, "publish")),
          tile("Delivered", perSecond(c, "deliver_get"), total(c, "deliver_get")),
          tile("Acknowledged", perSecond(c, "ack"), total(c, "ack")),
          tile("Unacknowledged", number(c.messages_unacknowledged), `prefetch ${c.prefetch_count || c.global_prefetch_count || "no limit"}`),
          tile("Unconfirmed", number(c.messages_unconfirmed), c.confirm ? "publisher confirms are on" : "no publisher confirms"),
        ),
        card(
          "About this channel",
          facts([
            ["State", state(c.state, stateKind(c.state))],
            ["Connection", connectionLink(c.connection_details.name)],
            ["User", c.user],
            ["Virtual host", c.vhost],
            ["Node", c.node],
            ["Transactional", c.transactional ? "yes" : "no"],
            ["Not committed", `${number(c.messages_uncommitted)} messages, ${number(c.acks_uncommitted)} acknowledgements`],
            ["Prefetch of each consumer", c.prefetch_count ? number(c.prefetch_count) : "no limit"],
            ["Prefetch of the channel", c.global_prefetch_count ? number(c.global_prefetch_count) : "no limit"],
          ]),
        ),
        h("section", { class: "card flush" }, h("header", { class: "card-head" }, h("h2", {}, "Consumers")), consumerTable(c.consumer_details)),
      ),
    whenGone(context, "channel"),
  );
  return { title: name, crumbs: [["Channels", link("channels")]], body: about };
}
