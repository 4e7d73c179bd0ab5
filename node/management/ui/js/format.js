// How values are shown. Numbers are grouped as the reader's language has it, times are local.

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const missing = "–";

export const number = (n) => (typeof n === "number" ? whole.format(n) : missing);

// short is for charts and tiles: 12.3k, 4.5M.
export function short(n) {
  if (typeof n !== "number") return missing;
  for (const [size, sign] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ]) {
    if (Math.abs(n) >= size) return compact.format(n / (sign === "k" ? 1e3 : size)) + sign;
  }
  return n % 1 ? compact.format(n) : whole.format(n);
}

export function rate(n) {
  if (typeof n !== "number") return missing;
  if (n === 0) return "0/s";
  return (n < 10 ? n.toFixed(n < 1 ? 2 : 1) : short(Math.round(n))) + "/s";
}

export function bytes(n) {
  if (typeof n !== "number") return missing;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (Math.abs(n) >= 1024 && i < units.length - 1) {
    n /= 1024;
    i += 1;
  }
  return `${i && Math.abs(n) < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export const bytesRate = (n) => (typeof n === "number" ? `${bytes(n)}/s` : missing);

export function duration(ms) {
  if (typeof ms !== "number") return missing;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const parts = [
    [86400e3, "d"],
    [3600e3, "h"],
    [60e3, "min"],
    [1e3, "s"],
  ];
  const first = parts.findIndex(([size]) => ms >= size);
  return parts
    .slice(first, first + 2)
    .map(([size, unit], i) => {
      const n = Math.floor((i ? ms % parts[first][0] : ms) / size);
      return n || !i ? `${n} ${unit}` : "";
    })
    .filter(Boolean)
    .join(" ");
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

export const timeOfDay = (ms, seconds = true) => (seconds ? clock : minute).format(ms);

// isDate reports whether milliseconds since 1970 are a time that can be shown: a publisher may set any.
export const isDate = (ms) => !Number.isNaN(new Date(ms).getTime());

// moment is a time of today as its time of day, one of another day with its date.
export function moment(ms) {
  const today = new Date().toDateString() === new Date(ms).toDateString();
  return today ? clock.format(ms) : `${day.format(ms)} ${minute.format(ms)}`;
}

// exact is the title of a time: with its date, milliseconds and the offset of the zone.
export function exact(ms) {
  const d = new Date(ms);
  const pad = (n, size = 2) => String(n).padStart(size, "0");
  const off = -d.getTimezoneOffset();
  const zone = `${off < 0 ? "-" : "+"}${pad(Math.floor(Math.abs(off) / 60))}:${pad(Math.abs(off) % 60)}`;
  return (
    `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ` +
    `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}.${pad(d.getMilliseconds(), 3)} ${zone}`
  );
}

export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

// valueText is a value of an argument or a header on one line.
export const valueText = (v) => (typeof v === "string" ? v : JSON.stringify(v));
