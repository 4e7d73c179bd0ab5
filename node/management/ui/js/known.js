// Arguments and keys of policies that the broker knows, for forms to offer: {name, kind, help, value}.

const number = (name, help) => ({ name, kind: "number", help });
const text = (name, help, value) => ({ name, kind: "text", help, value });
const yes = (name, help) => ({ name, kind: "boolean", help, value: "true" });

export const queueArguments = [
  number("x-message-ttl", "messages expire after so many milliseconds"),
  number("x-expires", "the queue is deleted when unused for so many milliseconds"),
  number("x-max-length", "most messages that are ready"),
  number("x-max-length-bytes", "most bytes of messages that are ready"),
  text("x-overflow", "what happens when it is full: drop-head, reject-publish, reject-publish-dlx", "reject-publish"),
  text("x-dead-letter-exchange", "exchange for messages that expire, are rejected or are too many"),
  text("x-dead-letter-routing-key", "routing key of dead letters, instead of their own"),
  yes("x-single-active-consumer", "one consumer at a time gets messages"),
  number("x-max-priority", "highest priority of messages, up to 255"),
  number("x-delivery-limit", "how often a message may come back"),
  text("x-delayed-retry-type", "messages that come back wait first: all, failed, returned, disabled", "all"),
  number("x-delayed-retry-min", "shortest wait, milliseconds"),
  number("x-delayed-retry-max", "longest wait, milliseconds"),
  number("x-consumer-timeout", "how long a consumer may keep a message, milliseconds"),
  yes("x-message-deduplication", "a message with the same x-deduplication-header is dropped"),
];

export const exchangeArguments = [
  text("alternate-exchange", "exchange for messages that no binding takes"),
  text("x-delayed-type", "of x-delayed-message: type by which it routes", "direct"),
  number("x-recent-history-length", "of x-recent-history: how many messages it remembers"),
  text("hash-header", "of x-consistent-hash: header that is hashed instead of the routing key"),
  text("hash-property", "of x-consistent-hash: property that is hashed instead of the routing key"),
  number("x-cache-size", "of x-message-deduplication: how many messages it remembers"),
  number("x-cache-ttl", "of x-message-deduplication: for how long, milliseconds"),
];

export const policyKeys = [
  number("message-ttl", "messages expire after so many milliseconds"),
  number("expires", "queues are deleted when unused for so many milliseconds"),
  number("max-length", "most messages that are ready"),
  number("max-length-bytes", "most bytes of messages that are ready"),
  text("overflow", "what happens to a full queue: drop-head, reject-publish, reject-publish-dlx", "reject-publish"),
  text("dead-letter-exchange", "exchange for messages that expire, are rejected or are too many"),
  text("dead-letter-routing-key", "routing key of dead letters"),
  number("delivery-limit", "how often a message may come back"),
  text("delayed-retry-type", "messages that come back wait first: all, failed, returned, disabled", "all"),
  number("delayed-retry-min", "shortest wait, milliseconds"),
  number("delayed-retry-max", "longest wait, milliseconds"),
  number("consumer-timeout", "how long a consumer may keep a message, milliseconds"),
  text("alternate-exchange", "of exchanges: for messages that no binding takes"),
];

export const userTags = [
  ["management", "may log in here and see what is its own"],
  ["policymaker", "also manages policies and parameters"],
  ["monitoring", "also sees all connections, channels and nodes"],
  ["administrator", "may do everything"],
  ["impersonator", "may publish in the name of others"],
];

export const vhostLimits = [
  ["max-connections", "connections"],
  ["max-queues", "queues"],
];
export const userLimits = [
  ["max-connections", "connections"],
  ["max-channels", "channels"],
];
