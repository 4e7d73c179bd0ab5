// What the parts of the walk share: the cluster as they found it, and the page that they walk with, which a follower serves.

import { addressOf, api, launch, nodes, open } from "./lib.mjs";

export const hostile = `<img src=x onerror="globalThis.pwned=1">'"&</script>`; // as a name, a header and a payload
const info = await api(nodes[0].http, "GET", ["cluster"]);
export const here = info.members.find((m) => !m.raft_leader).name;
export const http = addressOf(here);
export const browser = await launch();
export const page = await open(browser, http);
export const inQueue = (name) => api(http, "GET", ["queues", "/", name]);
