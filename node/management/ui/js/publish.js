// A form that publishes one message.

import { api } from "./api.js";
import { form } from "./form.js";
import { h } from "./dom.js";
import { say } from "./toast.js";

const known = [
  { name: "content_type", help: "type of the payload", value: "application/json" },
  { name: "content_encoding", help: "encoding of the payload" },
  { name: "correlation_id", help: "what a reply refers to" },
  { name: "reply_to", help: "queue for replies" },
  { name: "message_id", help: "id of the message" },
  { name: "type", help: "kind of the message" },
  { name: "app_id", help: "program that publishes" },
  { name: "user_id", help: "user that publishes" },
  { name: "timestamp", kind: "number", help: "seconds since 1970" },
];

// publisher makes the form, for an exchange; key is the routing key that it begins with.
export function publisher({ vhost, exchange, key = "", about }) {
  const made = form({
    label: "Publish a message",
    action: "Publish",
    reset: false,
    fields: [
      { name: "key", label: "Routing key", value: key, maxlength: 255 },
      { name: "payload", label: "Payload", type: "textarea", rows: 6 },
      {
        name: "encoding",
        label: "Payload is",
        type: "select",
        options: [
          { value: "string", label: "Text" },
          { value: "base64", label: "Base64" },
        ],
        value: "string",
      },
      {
        name: "mode",
        label: "Delivery mode",
        type: "select",
        options: [
          { value: 2, label: "2: persistent" },
          { value: 1, label: "1: transient" },
        ],
        value: 2,
      },
      { name: "priority", label: "Priority", type: "number", min: 0, max: 255 },
      { name: "expiration", label: "Expires after (ms)", inputmode: "numeric" },
      { name: "headers", label: "Headers", type: "arguments" },
      { name: "properties", label: "Other properties", type: "arguments", known },
    ],
    async run(v) {
      const properties = { ...v.properties, delivery_mode: Number(v.mode) };
      if (v.priority !== null) properties.priority = v.priority;
      if (v.expiration !== "") properties.expiration = v.expiration;
      if (Object.keys(v.headers).length) properties.headers = v.headers;
      const { routed } = await api.post(["exchanges", vhost, exchange || "amq.default", "publish"], {
        properties,
        routing_key: v.key,
        payload: v.payload,
        payload_encoding: v.encoding,
      });
      if (routed) say("The message is published.");
      else say("The message was published, but no queue got it: nothing is bound that takes it.", "bad");
    },
  });
  return h("div", { class: "form" }, about ? h("p", { class: "muted" }, about) : null, made.element);
}
