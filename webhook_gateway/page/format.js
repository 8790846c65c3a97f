// Numbers and times as traders read them. What is absent is an en dash.

export const ABSENT = "–";
const NEW_YORK = "America/New_York";

const prices = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const strikes = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
const counts = new Intl.NumberFormat("en-US");
const clock = new Intl.DateTimeFormat("en-GB", {
  timeZone: NEW_YORK, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const date = new Intl.DateTimeFormat("en-GB", {
  timeZone: NEW_YORK, weekday: "short", day: "numeric", month: "short", year: "numeric",
});
const moment = new Intl.DateTimeFormat("en-GB", {
  timeZone: NEW_YORK, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en-CA", { timeZone: NEW_YORK, year: "numeric", month: "2-digit", day: "2-digit" });

const shown = (format) => (value) =>
  value === null || value === undefined || !Number.isFinite(value) ? ABSENT : minus(format.format(value));
const minus = (text) => text.replace("-", "−");

/** A price: 6,734.11. */
export const price = shown(prices);
/** A strike: 6,735 or 25,197.21. */
export const strike = shown(strikes);
/** A gamma: −228, 1.713M. */
export const gamma = shown(compact);
/** A count: 23,400. */
export const count = shown(counts);

/** A gamma with its sign, +1.713M. */
export const signed = (value) => (value > 0 ? "+" : "") + gamma(value);

/** A number with so many decimals. */
export const decimals = (value, places) => (Number.isFinite(value) ? minus(value.toFixed(places)) : ABSENT);

/** Seconds as somebody says them: 0.4 s, 12 s, 2 min 14 s, 3 h 5 min, 2 d 4 h. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return ABSENT;
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Bytes: 12.3 GB. */
export function bytes(value) {
  if (!Number.isFinite(value)) return ABSENT;
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${(value / 1000 ** power).toFixed(power ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

/** New York's clock at epoch milliseconds: 09:41:12. */
export const newYorkTime = (ms) => clock.format(ms);
/** New York's date: Fri, 14 Nov 2025. */
export const newYorkDate = (ms) => date.format(ms);
/** New York's weekday and clock: Fri 16:00. */
export const newYorkMoment = (ms) => moment.format(ms).replace(",", "");
/** New York's date as partitions have it: 2025-11-14. */
export const newYorkDay = (ms) => day.format(ms);

/** Epoch milliseconds of New York's last midnight. */
export function newYorkMidnight(ms) {
  const [hours, minutes, seconds] = clock.format(ms).split(":").map(Number);
  return Math.floor(ms / 1000) * 1000 - ((hours * 60 + minutes) * 60 + seconds) * 1000;
}
