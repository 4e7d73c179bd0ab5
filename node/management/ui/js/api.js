// Requests to the node's HTTP API. Paths are given as segments, so that names may hold any character.

import { session } from "./session.js";

const base = new URL("api/", document.baseURI); // relative: a proxy may put a prefix before it

// A Refusal is an answer of the server that says no.
export class Refusal extends Error {
  constructor(status, type, reason) {
    super(reason);
    Object.assign(this, { status, type });
  }
  get loggedOut() {
    return this.status === 401 && this.type === "not_authorized";
  }
  get unavailable() {
    return this.status >= 502 && this.status <= 504;
  }
}

// An Unreachable is a request that got no answer.
export class Unreachable extends Error {
  constructor() {
    super("The node does not answer.");
  }
}

export const isAbort = (e) => e?.name === "AbortError";

let onLogout = () => {};
export function whenLoggedOut(f) {
  onLogout = f;
}

// request sends one request and returns what the answer holds; null when that is nothing.
async function request(method, path, { query, body, headers, signal, timeout = 40e3 } = {}) {
  if (path.some((name) => /^\.{1,2}$/.test(name))) {
    // every browser would take them for steps in the path
    throw new Refusal(400, "bad_request", "A browser cannot ask for an object that is named “.” or “..”: use warrenctl.");
  }
  const url = new URL(path.map(encodeURIComponent).join("/"), base);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const late = AbortSignal.timeout(timeout);
  const asked = session.authorization;
  let response, text;
  try {
    response = await fetch(url, {
      method,
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      headers: { Authorization: asked, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    text = await response.text();
  } catch (e) {
    if (isAbort(e) && signal?.aborted) throw e;
    throw new Unreachable();
  }
  if (response.ok) return text === "" ? null : JSON.parse(text);
  const refusal = refusalOf(response, text);
  if (refusal.loggedOut && asked === session.authorization) onLogout(refusal);
  throw refusal;
}

function refusalOf(response, text) {
  try {
    const { error, reason } = JSON.parse(text);
    return Object.assign(new Refusal(response.status, error ?? "", reasonText(reason ?? error)), { answer: JSON.parse(text) });
  } catch {
    // a proxy's page
    return new Refusal(response.status, "", `${response.status} ${response.statusText}`);
  }
}

const reasonText = (reason) => (typeof reason === "string" ? reason : JSON.stringify(reason)).trim();

export const api = {
  get: (path, query, signal) => request("GET", path, { query, signal }),
  put: (path, body = {}) => request("PUT", path, { body }),
  post: (path, body = {}, options = {}) => request("POST", path, { body, ...options }),
  delete: (path, options = {}) => request("DELETE", path, options),
};

// health asks the node whether it serves, without a login: {status, node, leader} or {status, node, reason}.
export async function health(signal) {
  const late = AbortSignal.timeout(5000);
  try {
    const response = await fetch(new URL("health", document.baseURI), {
      cache: "no-store",
      credentials: "omit",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    return await response.json();
  } catch {
    throw new Unreachable();
  }
}
