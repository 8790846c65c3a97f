// The coverage calendar: which feed has which trading day, each day a link into Dagster.

import { askDated, Late, Refused } from "./api.js";
import { dayLink } from "./dagster_links.js";
import { byId, make, say } from "./dom.js";
import { count, newYorkDay, newYorkTime } from "./format.js";

const DAYS = 42;
const PATIENCE_MS = 120_000; // the first answer after a start is looked for, on every day there is
const OLD_MS = 60_000;
const STATES = {
  complete: ["", "complete"],
  partial: ["◐", "partial"],
  missing: ["·", "missing"],
  conflicting: ["≠", "conflicting"],
  never_exported: ["↑", "not exported"],
  about_to_expire: ["!", "about to expire"],
  expired: ["×", "expired"],
  never_published: ["–", "never published"],
};
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

let asked = 0;
let asOf = Infinity; // when what is shown was found, epoch milliseconds

/**
 * Ask for six weeks up to today, or up to the newest day that is known when that is older, and draw them.
 * @param {number} newest epoch milliseconds of a snapshot of that day, 0 when no day is known
 */
export async function showCoverage(newest, dagster, signal) {
  const number = ++asked;
  const end = newest && Date.now() - newest > DAYS * 86_400_000 ? newest : Date.now();
  const [first, last] = [newYorkDay(end - DAYS * 86_400_000), newYorkDay(end)];
  try {
    const answer = await askDated(`/coverage?start=${first}&end=${last}`, { signal, patienceMs: PATIENCE_MS });
    if (number !== asked) return; // somebody asks for other days meanwhile
    asOf = answer.asOf;
    showAge();
    draw(answer.found.filter((each) => each.date >= first && each.date <= last), dagster);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Late)) throw error;
    byId("coverage").replaceChildren(make("p", { class: "hint" }, error instanceof Refused && error.status === 404
      ? "This gateway does not tell its coverage." : "The coverage could not be read just now."));
  }
}

/** Say of when it is, once that is a while ago. */
function showAge() {
  say(byId("coverage-as-of"), Date.now() - asOf > OLD_MS ? `as of ${newYorkTime(asOf)} New York` : "");
}

function draw(found, dagster) {
  const days = [...new Set(found.map((each) => each.date))].sort();
  const feeds = [...new Set(found.map((each) => each.feed))].sort();
  const byKey = new Map(found.map((each) => [`${each.feed}|${each.date}`, each]));
  const had = document.activeElement?.closest?.("#coverage a")?.dataset.key;
  if (!days.length) {
    byId("coverage").replaceChildren(make("p", { class: "hint" }, "No trading day is known yet."));
    return;
  }
  const rows = feeds.map((feed) => make("tr", {}, make("th", { scope: "row" }, feed),
    ...days.map((day) => make("td", {}, ...cell(byKey.get(`${feed}|${day}`), dagster)))));
  const grid = make("table", { class: "calendar" },
    make("caption", { class: "hidden" }, "Coverage: feeds by trading days. Arrow keys move from day to day."),
    make("thead", {}, make("tr", {}, make("td", { class: "corner" }), ...months(days)),
      make("tr", {}, make("th", { scope: "col", class: "corner" }, make("span", { class: "hidden" }, "Feed")),
        ...days.map((day) => make("th", { scope: "col", class: "day" }, make("span", { "aria-hidden": "true" }, Number(day.slice(8))), make("span", { class: "hidden" }, day))))),
    make("tbody", {}, ...rows));
  const box = make("div", { class: "scroll" }, grid);
  byId("coverage").replaceChildren(box);
  box.scrollLeft = box.scrollWidth;
  const links = [...grid.querySelectorAll("a")];
  const current = links.find((link) => link.dataset.key === had) ?? links.at(-1);
  current?.setAttribute("tabindex", "0");
  if (had && current) current.focus({ preventScroll: true });
  legend(found);
}

function months(days) {
  const spans = [];
  for (const day of days) {
    if (spans.at(-1)?.month === day.slice(0, 7)) spans.at(-1).days += 1;
    else spans.push({ month: day.slice(0, 7), days: 1 });
  }
  return spans.map(({ month, days: width }) => make("th", { scope: "colgroup", colspan: width, class: "month" },
    `${MONTHS[Number(month.slice(5)) - 1]}${width > 2 ? ` ${month.slice(0, 4)}` : ""}`));
}

function cell(entry, dagster) {
  if (!entry) return [];
  const [glyph, name] = STATES[entry.state] ?? ["?", entry.state];
  const words = `${entry.feed}, ${entry.date}: ${name}, ${count(entry.snapshots)} snapshots${entry.detail ? `. ${entry.detail}` : ""}`;
  const { href, way } = dayLink(dagster, "strikes_parquet", entry.feed, entry.date, entry.detail);
  return [make("a", {
    class: `square ${STATES[entry.state] ? entry.state : ""}`, tabindex: "-1", "data-key": `${entry.feed}|${entry.date}`,
    "aria-label": way ? `${words}. In Dagster: ${way}` : words, href, rel: "noreferrer",
  }, glyph)];
}

function legend(found) {
  const present = Object.keys(STATES).filter((state) => found.some((each) => each.state === state));
  byId("coverage-legend").replaceChildren(...present.map((state) =>
    make("li", {}, make("span", { class: `square ${state}`, "aria-hidden": "true" }, STATES[state][0]), STATES[state][1])));
}

setInterval(showAge, 1000);
const area = byId("coverage");
const tell = (event) => {
  const link = event.target.closest?.("a.square");
  if (link) say(byId("coverage-readout"), link.getAttribute("aria-label"));
};
area.addEventListener("pointerover", tell);
area.addEventListener("focusin", tell);
area.addEventListener("keydown", (event) => {
  const link = event.target.closest?.("a.square");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!link || !step) return;
  const td = link.closest("td");
  const row = td.parentElement;
  const target = step[0]
    ? (step[0] < 0 ? row.previousElementSibling : row.nextElementSibling)?.children[td.cellIndex]
    : step[1] < 0 ? td.previousElementSibling : td.nextElementSibling;
  const next = target?.querySelector("a");
  if (!next) return;
  event.preventDefault();
  link.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
});
