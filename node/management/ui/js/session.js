// Who is logged in, and what this browser remembers. The password is kept in sessionStorage: it belongs to one tab, goes
// when that is closed, and is in no cookie that other pages of this host would be sent.

const loginKey = "warren.login";
const loginHours = 8;

function read(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    /* storage is off or full: it is remembered until the page goes */
  }
}

export const session = { user: "", authorization: "", tags: [], vhosts: [], vhost: null, node: "", cluster: "" };

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

// restore takes up the login of this tab, if there is one that is not too old.
export function restore() {
  try {
    const kept = JSON.parse(read(sessionStorage, loginKey));
    if (!kept || Date.now() - kept.since > loginHours * 3600e3) return forget();
    session.user = kept.user;
    session.authorization = kept.authorization;
    session.vhost = kept.vhost ?? null;
  } catch {
    forget();
  }
}

export function use(user, password) {
  session.user = user;
  session.authorization = `Basic ${base64(`${user}:${password}`)}`;
}

export function keep() {
  const { user, authorization, vhost } = session;
  const since = JSON.parse(read(sessionStorage, loginKey))?.since ?? Date.now();
  write(sessionStorage, loginKey, JSON.stringify({ user, authorization, vhost, since }));
}

export function forget() {
  Object.assign(session, { user: "", authorization: "", tags: [], vhosts: [], vhost: null });
  write(sessionStorage, loginKey, null);
}

let onVHosts = () => {};
export function whenVHostsChange(f) {
  onVHosts = f;
}

// setVHosts takes up which virtual hosts there are, after one was added or deleted.
export function setVHosts(names) {
  session.vhosts = names;
  if (!names.includes(session.vhost)) session.vhost = null;
  onVHosts();
}

let onCluster = () => {};
export function whenClusterIsNamed(f) {
  onCluster = f;
}

// setCluster takes up another name of the cluster.
export function setCluster(name) {
  session.cluster = name;
  onCluster();
}

// What a user's tags let it see and do. They only decide what is shown: the server decides what is done.
const tagged = (...tags) => session.tags.some((t) => tags.includes(t));
export const may = {
  administer: () => tagged("administrator"),
  monitor: () => tagged("administrator", "monitoring"),
  makePolicies: () => tagged("administrator", "policymaker"),
};

export const prefs = {
  get(name, otherwise) {
    const text = read(localStorage, `warren.${name}`);
    if (text === null) return otherwise;
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  },
  set(name, value) {
    write(localStorage, `warren.${name}`, typeof value === "string" ? value : JSON.stringify(value));
  },
};
