// Fields that say which messages are meant, for looking at them and for moving them.

import { field } from "./form.js";

export const filterFields = () => [
  field({ name: "filterKey", label: "Routing key is", help: "Leave empty for any." }),
  field({ name: "filterExchange", label: "Published to exchange", help: "Leave empty for any; amq.default is the default exchange." }),
  field({ name: "filterHeaders", label: "Has these headers", type: "arguments" }),
];

// filterOf is the filter as the API has it; what was left empty is not in it.
export function filterOf(v) {
  const filter = {};
  if (v.filterKey) filter.routing_key = v.filterKey;
  if (v.filterExchange) filter.exchange = v.filterExchange;
  if (Object.keys(v.filterHeaders).length) filter.headers = v.filterHeaders;
  return filter;
}
