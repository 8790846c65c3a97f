// Spot and zero gamma over the session, on New York's clock.

import { askWhileBusy, Refused } from "./api.js";
import { byId, say, table } from "./dom.js";
import { newYorkDay, newYorkMidnight, newYorkTime, price } from "./format.js";
import { priceReach, timeReach } from "./scales.js";

const uPlot = /** @type {any} */ (window).uPlot;
const MOST_POINTS = 60_000;
const TABLE_ROWS = 24;
const plot = byId("lines");

let data = [[], [], []]; // epoch seconds, spot, zero gamma
let day = "";
let chart = null;
let whole = [Infinity, -Infinity]; // first and last time that were drawn last
let described = -Infinity;

/** Begin with another feed. */
export function resetLines() {
  data = [[], [], []];
  day = "";
  chart?.destroy();
  chart = null;
  whole = [Infinity, -Infinity];
  described = -Infinity;
  plot.replaceChildren();
}

/**
 * Fetch what the session brought before this snapshot. Returns why there is none, else null.
 * @param {string} feed
 */
export async function fetchSession(feed, newest, signal) {
  const query = new URLSearchParams({ feed, start: String(newYorkMidnight(newest.timestamp)), end: String(newest.timestamp),
    columns: "timestamp,spot_price,zero_gamma", limit: String(MOST_POINTS) });
  try {
    const rows = await askWhileBusy(`/gex?${query}`, signal);
    const later = data[0].findIndex((at) => at * 1000 > newest.timestamp);
    const since = later === -1 ? [[], [], []] : data.map((column) => column.slice(later));
    data = [rows.map((row) => row.timestamp / 1000), rows.map((row) => row.spot_price ?? null), rows.map((row) => row.zero_gamma || null)];
    if (rows.at(-1)?.timestamp !== newest.timestamp) push(newest);
    data = data.map((column, index) => column.concat(since[index]));
    day = newYorkDay(newest.timestamp);
    described = -Infinity;
    redraw();
    return null;
  } catch (error) {
    if (signal.aborted) return null;
    return error instanceof Refused && [404, 405].includes(error.status) ? "lines begin when this page was opened" : "the session so far could not be read";
  }
}

/** Add a snapshot; a new trading day begins anew. */
export function addToLines(snapshot) {
  if (newYorkDay(snapshot.timestamp) !== day) {
    day = newYorkDay(snapshot.timestamp);
    data = [[], [], []];
  }
  if (snapshot.timestamp / 1000 <= (data[0].at(-1) ?? 0)) return;
  push(snapshot);
  if (data[0].length > MOST_POINTS) data = data.map((column) => column.slice(-MOST_POINTS / 2));
  redraw();
}

function push(snapshot) {
  data[0].push(snapshot.timestamp / 1000);
  data[1].push(snapshot.spot_price ?? null);
  data[2].push(snapshot.zero_gamma || null);
}

/** Draw again with the colours that hold now. */
export const recolour = () => chart?.redraw(false);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const font = '12px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif';

function options() {
  const grid = { stroke: () => colour("--grid"), width: 1 };
  const dot = (stroke) => ({ show: (u) => u.data[0].length === 1, size: 8, fill: stroke }); // a line takes two moments
  const [spot, zeroGamma] = ["--spot", "--zero-gamma"].map((name) => () => colour(name));
  const clock = (ticks) => ticks.map((at) => newYorkTime(at * 1000).slice(0, ticks[1] - ticks[0] < 60 ? 8 : 5));
  return {
    width: plot.clientWidth,
    height: plot.clientHeight,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "America/New_York"),
    legend: { show: false },
    padding: [10, 0, 0, 8],
    cursor: { drag: { x: true, y: false }, points: { size: 7 }, y: false },
    scales: { x: { range: (u, low, high) => timeReach(u.data[0], low, high) }, y: { range: (_, low, high) => priceReach(low, high) } },
    series: [
      {},
      { stroke: spot, width: 1.5, points: dot(spot) },
      { stroke: zeroGamma, width: 2, points: dot(zeroGamma) },
    ],
    axes: [
      { stroke: () => colour("--soft"), font, grid, ticks: { show: false }, values: (_, ticks) => clock(ticks), space: 64, size: 30 },
      { side: 1, size: 78, stroke: () => colour("--soft"), font, grid, ticks: { show: false }, gap: 8,
        values: (u, ticks) => ticks.map((value) => (isUnderTag(u, value) ? "" : price(value).replace(/\.00$/, ""))) },
    ],
    hooks: { draw: [drawTags], setCursor: [showReadout] },
  };
}

const isUnderTag = (u, value) => [1, 2].some((series) =>
  Math.abs(u.valToPos(value, "y") - u.valToPos(u.data[series].at(-1) ?? NaN, "y")) < 16);

/** Write the last values onto the right axis. */
function drawTags(u) {
  const ratio = devicePixelRatio;
  const { left, top, width, height } = u.bbox;
  const tags = [["--spot", 1], ["--zero-gamma", 2]].flatMap(([name, series]) => {
    const value = u.data[series].at(-1);
    return value === null || value === undefined ? [] : [{ name, value, y: Math.min(Math.max(u.valToPos(value, "y", true), top), top + height) }];
  }).sort((one, other) => one.y - other.y);
  if (tags.length === 2 && tags[1].y - tags[0].y < 19 * ratio) {
    const middle = (tags[0].y + tags[1].y) / 2;
    tags[0].y = middle - 9.5 * ratio;
    tags[1].y = middle + 9.5 * ratio;
  }
  u.ctx.save();
  u.ctx.textBaseline = "middle";
  u.ctx.textAlign = "left";
  u.ctx.font = font.replace("12px", `600 ${12 * ratio}px`);
  for (const { name, value, y } of tags) {
    u.ctx.fillStyle = colour(name);
    u.ctx.beginPath();
    u.ctx.roundRect(left + width + 3 * ratio, y - 9 * ratio, 72 * ratio, 18 * ratio, 3 * ratio);
    u.ctx.fill();
    u.ctx.fillStyle = colour("--on-tag");
    u.ctx.fillText(price(value), left + width + 8 * ratio, y + ratio / 2);
  }
  u.ctx.restore();
}

function showReadout() {
  const place = chart?.cursor.idx ?? data[0].length - 1;
  if (place < 0 || place >= data[0].length) return;
  const [at, spot, zero] = data.map((column) => column[place]);
  say(byId("lines-readout"), `${newYorkTime(at * 1000)}: spot ${price(spot)}, zero gamma ${price(zero)}`);
}

function redraw() {
  if (plot.clientWidth === 0 || data[0].length === 0) return;
  chart ??= new uPlot(options(), data, plot);
  chart.setData(data, !isZoomed());
  if (!isZoomed()) whole = [data[0][0], data[0].at(-1)];
  showReadout();
  if (performance.now() - described < 15_000) return; // words for those who listen need not change every second
  described = performance.now();
  const spots = data[1].filter(Number.isFinite);
  plot.setAttribute("aria-label", `Spot and zero gamma from ${newYorkTime(data[0][0] * 1000)} to ${newYorkTime(data[0].at(-1) * 1000)} New York: `
    + `spot ${price(spots.at(-1))}, lowest ${price(spots.reduce((a, b) => Math.min(a, b), Infinity))}, highest ${price(spots.reduce((a, b) => Math.max(a, b), -Infinity))}; `
    + `zero gamma ${price(data[2].at(-1))}`);
  if (byId("lines-table").open) fillTable();
}

/** Whether somebody chose a part of the time; a double click ends that. */
const isZoomed = () => Number.isFinite(chart.scales.x.min)
  && (chart.scales.x.min > whole[0] || chart.scales.x.max < whole[1]);

function fillTable() {
  const step = Math.max(1, Math.ceil(data[0].length / TABLE_ROWS));
  const places = data[0].map((_, place) => place).filter((place) => (data[0].length - 1 - place) % step === 0).reverse();
  const rows = places.map((place) => [newYorkTime(data[0][place] * 1000), price(data[1][place]), price(data[2][place])]);
  byId("lines-table").querySelector(".scroll").replaceChildren(table("Spot and zero gamma", ["New York", "Spot", "Zero gamma"], rows));
}

byId("lines-table").addEventListener("toggle", () => byId("lines-table").open && fillTable());
new ResizeObserver(() => {
  if (chart) chart.setSize({ width: plot.clientWidth, height: plot.clientHeight });
  else redraw();
}).observe(plot);
