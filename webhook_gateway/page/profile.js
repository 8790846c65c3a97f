// GEX by strike: horizontal bars, what they were before, and where spot, zero gamma and the majors are.

import { byId, draw, make, say, table } from "./dom.js";
import { ABSENT, gamma, price, strike } from "./format.js";
import { gridLines, placeOf, reach, shownPart } from "./scales.js";

export const AGO = ["1 min", "5 min", "10 min", "15 min", "30 min"];
const PANELS = {
  volume: { title: "by volume", column: "gamma", highest: "major_pos_vol", lowest: "major_neg_vol", priors: true },
  oi: { title: "by open interest", column: "oi_gamma", highest: "major_pos_oi", lowest: "major_neg_oi", priors: false },
};
const TOP = 26;
const BOTTOM = 24;
const TAGS = 86; // spot and zero gamma
const BETWEEN = 18;
const LETTER_PX = 7.4;
const LABEL_PX = 15; // a name needs so much height

const plot = byId("profile");
let kept = /** @type {any} */ (null); // the snapshot that is shown, its ladder and options
let part = null;
let reaches = {};
let cursor = null; // the strike that was pointed at; null follows the spot

/** Forget what belongs to another feed. */
export function resetProfile() {
  kept = part = cursor = null;
  reaches = {};
  plot.replaceChildren();
}

/** Draw a snapshot: `view` volume, oi or both; `strikes` near or all; `priors` all, none or one's place. */
export function showProfile(snapshot, options) {
  const rows = [...snapshot.strikes].sort((one, other) => one.strike - other.strike);
  kept = { snapshot, rows, ladder: rows.map((row) => row.strike), options };
  redraw();
}

function redraw() {
  if (!kept || plot.clientWidth === 0) return;
  const { snapshot, rows, ladder, options } = kept;
  part = shownPart(ladder, snapshot.spot_price, options.strikes, part);
  const size = { width: plot.clientWidth, height: plot.clientHeight };
  const shown = rows.slice(part.first, part.last + 1);
  const rowPx = (size.height - TOP - BOTTOM) / Math.max(shown.length, 1);
  const yOf = (place) => TOP + (part.last - place + 0.5) * rowPx;
  const names = options.view === "both" ? ["volume", "oi"] : [options.view];
  const gutter = 14 + LETTER_PX * Math.max(0, ...shown.map((row) => strike(row.strike).length)); // for the names
  const panelPx = (size.width - gutter - TAGS - BETWEEN * (names.length - 1)) / names.length;
  const picture = draw("svg", { width: size.width, height: size.height, "aria-hidden": "true" });
  picture.append(draw("rect", { class: "cursor", id: "cursor-row", x: 0, width: size.width - TAGS, height: rowPx, y: -99 }));
  picture.append(...strikeNames(shown, rowPx, yOf, gutter));
  const majors = []; // their names come last, nothing may cross them out
  names.forEach((name, index) => {
    const left = gutter + index * (panelPx + BETWEEN);
    picture.append(panel(PANELS[name], name, { shown, left, panelPx, rowPx, yOf, size, names: majors }));
  });
  picture.append(...levels(snapshot, ladder, yOf, size, gutter), ...majors);
  plot.replaceChildren(picture);
  kept.placeAt = (y) => Math.round(part.last + 0.5 - (y - TOP) / rowPx);
  kept.topOf = (place) => yOf(place) - rowPx / 2;
  showCursor();
  legend(names);
  if (byId("profile-table").open) fillTable();
}

function strikeNames(shown, rowPx, yOf, gutter) {
  const every = Math.max(1, Math.ceil(LABEL_PX / rowPx));
  return shown.flatMap((row, index) => {
    if ((shown.length - 1 - index) % every) return [];
    return [draw("text", { class: "name", x: gutter - 8, y: yOf(part.first + index), dy: "0.32em", "text-anchor": "end" },
      strike(row.strike))];
  });
}

/** One panel: grid, bars, what they were before, the majors. */
function panel(kind, name, { shown, left, panelPx, rowPx, yOf, size, names }) {
  const { snapshot, options } = kept;
  const lags = !kind.priors || options.priors === "none" ? [] : options.priors === "all" ? [4, 3, 2, 1, 0] : [Number(options.priors)];
  const before = (row, lag) => row.priors?.[lag] ?? NaN;
  const values = shown.flatMap((row) => [row[kind.column] ?? 0, ...lags.map((lag) => before(row, lag)).filter(Number.isFinite)]);
  reaches[name] = reach(values, reaches[name]);
  const { low, high } = reaches[name];
  const xOf = (value) => left + ((value - low) / (high - low)) * panelPx;
  const group = draw("g", {});
  group.append(draw("text", { class: "title", x: left + panelPx / 2, y: 13, "text-anchor": "middle" }, kind.title));
  let free = -Infinity;
  for (const line of gridLines(reaches[name])) {
    const x = Math.round(xOf(line)) + 0.5;
    group.append(draw("line", { class: line === 0 ? "zero" : "grid", x1: x, x2: x, y1: TOP, y2: size.height - BOTTOM }));
    if (x - free < 44) continue;
    free = x;
    group.append(draw("text", { class: "scale", x, y: size.height - 7, "text-anchor": "middle" }, gamma(line)));
  }
  const thick = Math.max(1, Math.min(16, rowPx * 0.7));
  const bars = { positive: "", negative: "" };
  const ticks = lags.map(() => "");
  shown.forEach((row, index) => {
    const y = yOf(part.first + index);
    const value = row[kind.column];
    if (value) bars[value > 0 ? "positive" : "negative"] += `M${xOf(0)} ${y - thick / 2}H${xOf(value)}v${thick}H${xOf(0)}z`;
    lags.forEach((lag, place) => {
      const x = xOf(before(row, lag));
      if (Number.isFinite(x)) ticks[place] += `M${x} ${y - rowPx * 0.42}v${rowPx * 0.84}`;
    });
  });
  for (const sign of ["positive", "negative"]) group.append(draw("path", { class: `bar ${sign}`, d: bars[sign] }));
  lags.forEach((lag, place) => group.append(draw("path", { class: `prior ago-${lag}`, d: ticks[place] })));
  for (const [column, label] of [[kind.highest, "major +"], [kind.lowest, "major −"]]) {
    const place = shown.findIndex((row) => row.strike === snapshot[column]);
    if (place === -1) continue;
    const value = shown[place][kind.column] ?? 0;
    const y = yOf(part.first + place);
    const most = Math.max(...lags.map((lag) => before(shown[place], lag)).filter(Number.isFinite), value, 0);
    const least = Math.min(...lags.map((lag) => before(shown[place], lag)).filter(Number.isFinite), value, 0);
    const toRight = value >= 0 ? xOf(most) + 60 < left + panelPx : xOf(least) - 60 < left;
    const x = toRight ? xOf(value >= 0 ? most : 0) + 6 : xOf(value >= 0 ? 0 : least) - 6;
    names.push(draw("text", { class: "major", x, y, dy: "0.34em", "text-anchor": toRight ? "start" : "end" }, label));
  }
  return group;
}

/** Lines with tags for spot and zero gamma; what lies beyond the shown strikes is said at the edge. */
function levels(snapshot, ladder, yOf, size, gutter) {
  const found = [
    { kind: "spot", label: "spot", value: snapshot.spot_price },
    { kind: "zero-gamma", label: "zero γ", value: snapshot.zero_gamma || null },
  ].filter((level) => Number.isFinite(placeOf(level.value, ladder)));
  const bounds = [TOP, size.height - BOTTOM];
  for (const level of found) {
    level.at = yOf(placeOf(level.value, ladder));
    level.y = Math.min(Math.max(level.at, bounds[0]), bounds[1]);
    level.tag = level.y;
  }
  if (found.length === 2 && Math.abs(found[0].tag - found[1].tag) < 34) {
    const [upper, lower] = found[0].at <= found[1].at ? found : [found[1], found[0]];
    const middle = Math.min(Math.max((upper.tag + lower.tag) / 2, bounds[0] + 17), bounds[1] - 17);
    upper.tag = middle - 17;
    lower.tag = middle + 17;
  }
  return found.map((level) => {
    const isOut = level.at !== level.y;
    const right = size.width - TAGS + 4;
    const arrow = !isOut ? "" : level.at < level.y ? "↑ " : "↓ ";
    return draw("g", { class: `level ${level.kind}` },
      ...(isOut ? [] : [draw("path", { class: "line", d: `M${gutter - 4} ${level.y}H${size.width - TAGS}L${right} ${level.tag}` })]),
      draw("rect", { x: right, y: level.tag - 16, width: TAGS - 6, height: 32, rx: 4 }),
      draw("text", { class: "what", x: right + 7, y: level.tag - 4 }, arrow + level.label),
      draw("text", { class: "value", x: right + 7, y: level.tag + 10 }, price(level.value)));
  });
}

/** Show where the cursor is, in the picture, in words and to screen readers. */
function showCursor() {
  const { snapshot, rows, ladder } = kept;
  let place = cursor === null ? -1 : ladder.indexOf(cursor);
  if (place === -1) place = Math.min(Math.max(Math.round(placeOf(snapshot.spot_price, ladder)) || 0, 0), rows.length - 1);
  const row = rows[place];
  const isShown = cursor !== null && place >= part.first && place <= part.last;
  byId("cursor-row").setAttribute("y", String(isShown ? kept.topOf(place) : -99));
  const before = (row?.priors ?? []).map((value, lag) => `${AGO[lag] ?? ""} ${gamma(value)}`).join(", ");
  const text = !row ? ABSENT
    : `${strike(row.strike)}: volume ${gamma(row.gamma)}, OI ${gamma(row.oi_gamma)}${before && ` · before: ${before}`}`;
  say(byId("profile-readout"), text);
  plot.setAttribute("aria-valuemax", String(Math.max(rows.length - 1, 0)));
  plot.setAttribute("aria-valuenow", String(Math.max(place, 0)));
  // Told anew only when it was moved: a value that changes every second would never let anybody finish a sentence.
  if (document.activeElement !== plot || kept.moved) plot.setAttribute("aria-valuetext", text);
  kept.moved = false;
}

function legend(names) {
  const wanted = `${names} ${kept.options.priors}`;
  const list = byId("profile-legend");
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  const entries = [["bar positive", "positive"], ["bar negative", "negative"]];
  if (names.includes("volume") && kept.options.priors !== "none") {
    const lags = kept.options.priors === "all" ? [0, 1, 2, 3, 4] : [Number(kept.options.priors)];
    entries.push(...lags.map((lag) => [`prior ago-${lag}`, `${AGO[lag]} ago`]));
  }
  list.replaceChildren(...entries.map(([kind, text]) => make("li", {},
    draw("svg", { width: 12, height: 12, "aria-hidden": "true" },
      kind.startsWith("bar") ? draw("rect", { class: kind, y: 2, width: 12, height: 8 }) : draw("path", { class: kind, d: "M6 1v10" })),
    text)));
}

function fillTable() {
  const head = ["Strike", "Volume", "OI", ...AGO.map((each) => `${each} ago`)];
  const rows = [...kept.rows].reverse().map((row) => [strike(row.strike), gamma(row.gamma), gamma(row.oi_gamma),
    ...AGO.map((_, lag) => gamma(row.priors?.[lag]))]);
  byId("profile-table").querySelector(".scroll").replaceChildren(table("GEX by strike", head, rows));
}

function moveTo(place) {
  cursor = kept.ladder[Math.min(Math.max(place, part.first), part.last)];
  kept.moved = true;
  showCursor();
}

plot.addEventListener("pointermove", (event) => {
  if (kept) moveTo(kept.placeAt(event.clientY - plot.getBoundingClientRect().top));
});
plot.addEventListener("pointerleave", () => {
  cursor = null;
  if (kept) showCursor();
});
plot.addEventListener("keydown", (event) => {
  if (!kept) return;
  const now = Number(plot.getAttribute("aria-valuenow"));
  const places = { ArrowUp: now + 1, ArrowRight: now + 1, ArrowDown: now - 1, ArrowLeft: now - 1, PageUp: now + 10,
    PageDown: now - 10, Home: part.first, End: part.last };
  if (event.key === "Escape") {
    cursor = null;
    showCursor();
  } else if (event.key in places) {
    event.preventDefault();
    moveTo(places[event.key]);
  }
});
byId("profile-table").addEventListener("toggle", () => kept && byId("profile-table").open && fillTable());
new ResizeObserver(redraw).observe(plot);
