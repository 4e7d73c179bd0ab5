// Elements are made with h and brought up to date with patch. All data goes in as text nodes and
// attributes: there is no way from here to markup, and the page's policy forbids every other one.

const svgNames = new Set(["svg", "g", "path", "line", "circle", "rect", "text", "polyline", "title"]);
const svgSpace = "http://www.w3.org/2000/svg";
const asProperty = new Set(["value", "checked", "indeterminate", "selected"]);

// h makes an element: h("a", {href: "#/queues", onclick: f}, "Queues", other). Null, undefined and false are left out.
export function h(tag, props, ...children) {
  const el = svgNames.has(tag) ? document.createElementNS(svgSpace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(el, name, value);
  append(el, children);
  return el;
}

function set(el, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) listen(el, name.slice(2), value);
  else if (asProperty.has(name)) el[name] = value;
  else el.setAttribute(name, value === true ? "" : String(value));
}

// Listeners are looked up when an event comes, so that patch can hand new ones to an element that stays.
function listen(el, type, f) {
  el.handlers ??= {};
  el.handlers[type] = f;
  el.addEventListener(type, (event) => el.handlers[type]?.(event));
}

function append(el, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : String(child));
  }
  return el;
}

// fill puts new children into an element, keeping those that are alike: focus and selection stay. Elements with
// data-key and the property keep are left as they are.
export function fill(el, ...children) {
  const wanted = append(document.createDocumentFragment(), children);
  patchChildren(el, wanted);
  return el;
}

function patch(from, to) {
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return from;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const type of Object.keys(to.handlers ?? {})) {
    if (from.handlers?.[type]) from.handlers[type] = to.handlers[type];
    else listen(from, type, to.handlers[type]);
  }
  if (from.checked !== to.checked) from.checked = to.checked;
  patchChildren(from, to);
  return from;
}

// Children with a data-key are found again wherever they stand; of the others the next one of the same name is taken.
function patchChildren(el, wanted) {
  const keyed = new Map();
  for (const old of el.children) if (old.dataset?.key !== undefined) keyed.set(old.dataset.key, old);
  let next = el.firstChild;
  for (const to of [...wanted.childNodes]) {
    const key = to.dataset?.key;
    let from = key !== undefined ? keyed.get(key) : next;
    if (key === undefined) while (from && from.dataset?.key !== undefined) from = from.nextSibling;
    const alike = from && from.nodeType === to.nodeType && from.nodeName === to.nodeName;
    const stays = from?.keep && key !== undefined ? from : alike && !from.keep ? patch(from, to) : to;
    if (stays !== next) el.insertBefore(stays, next);
    else next = stays.nextSibling;
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

let ids = 0;

// newID returns an id for an element that another one refers to.
export function newID(what) {
  ids += 1;
  return `${what}-${ids}`;
}
