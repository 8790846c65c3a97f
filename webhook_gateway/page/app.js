// The page put together: which feed, what arrives, how the recorder is.

import { ask, hasKey, keepKey, Late, Refused, Unreachable } from "./api.js";
import { showCoverage } from "./coverage.js";
import { byId, make, say } from "./dom.js";
import { showAge, showFigures } from "./figures.js";
import { newYorkTime } from "./format.js";
import { look, setState } from "./health.js";
import { showImports } from "./imports.js";
import { resetProfile, showProfile } from "./profile.js";
import { learnSessions } from "./sessions.js";
import { addToLines, fetchSession, recolour, resetLines } from "./session_lines.js";
import { follow, pause } from "./stream.js";

const GAP_MS = 30_000; // what the page missed meanwhile is asked for
const HEALTH_MS = 4_000;
const IMPORTS_MS = 60_000;
const SESSIONS_MS = 60_000;
const COVERAGE_MS = 300_000;

const url = new URL(location.href);
const chosen = (name, known, otherwise) => known.find((each) => each === url.searchParams.get(name)) ?? otherwise;
const options = {
  view: chosen("view", ["volume", "oi", "both"], matchMedia("(max-width: 700px)").matches ? "volume" : "both"),
  strikes: chosen("strikes", ["near", "all"], "near"),
  priors: chosen("priors", ["all", "0", "1", "2", "3", "4", "none"], "all"),
};
let feed = url.searchParams.get("feed");
let feeds = [];
let newest = null; // of the chosen feed
let dagster = "";
let running = new AbortController(); // everything that asks; ended while a key is wanted
let following = new AbortController(); // what belongs to the chosen feed
let frame = 0;

async function start() {
  running = new AbortController();
  const { signal } = running;
  try {
    const settings = await ask("/page/settings", { signal });
    if (settings.needs_key && !hasKey()) return wantKey(false);
    if (settings.needs_key && !settings.dagster_port) return wantKey(true);
    dagster = settings.dagster_url?.replace(/\/+$/, "") ?? `http://${location.hostname}:${settings.dagster_port}`;
    hide("key-form");
    show("health-card", "records");
    await Promise.all([watchHealth(signal), watchRecords(signal), watchSessions(signal), findFeeds(signal)]);
  } catch (error) {
    trouble(error);
    await pause(2000, signal);
    if (!signal.aborted) start();
  }
}

/** Ask for feeds until there is one, then keep to it. */
async function findFeeds(signal) {
  while (!signal.aborted) {
    try {
      const latest = await ask("/gex/latest", { signal });
      noteFeeds(latest.map((each) => `${each.ticker}:${each.endpoint}`));
      if (feeds.length) return choose(feeds.includes(feed) ? feed : feeds[0], latest);
      showEmpty();
    } catch (error) {
      trouble(error);
    }
    await pause(2000, signal);
  }
}

function noteFeeds(found) {
  const all = [...new Set([...feeds, ...found])].sort();
  if (all.length === feeds.length) return;
  feeds = all;
  const select = byId("feed");
  select.replaceChildren(...feeds.map((each) => make("option", { value: each }, each)));
  select.disabled = false;
  if (feed) select.value = feed;
}

function choose(wanted, latest = []) {
  following.abort();
  following = new AbortController();
  const signal = AbortSignal.any([running.signal, following.signal]);
  feed = wanted;
  newest = null;
  byId("feed").value = feed;
  remember("feed", feed);
  resetProfile();
  resetLines();
  hide("empty");
  show("figures", "profile-card", "lines-card");
  const known = latest.find((each) => `${each.ticker}:${each.endpoint}` === feed);
  if (known) take(known, signal);
  follow(feed, signal, (snapshot) => take(snapshot, signal), (error) => trouble(error));
}

/** Take a snapshot of the chosen feed; drawn once per frame however many arrive. */
function take(snapshot, signal) {
  if (signal.aborted) return;
  const isFirst = newest === null;
  if (!isFirst && snapshot.timestamp < newest.timestamp) return;
  const hasGap = !isFirst && snapshot.timestamp - newest.timestamp > GAP_MS;
  newest = snapshot;
  cheer();
  addToLines(snapshot);
  if (isFirst || hasGap) fetchSession(feed, snapshot, signal).then((reason) => reason && say(byId("lines-readout"), reason));
  if (isFirst) refreshCoverage(running.signal);
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    if (newest === null) return;
    showFigures(newest);
    showProfile(newest, options);
  });
}

async function watchHealth(signal) {
  let imports = NaN;
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        const seen = await look(signal);
        cheer();
        if (newest) noteFeeds(seen.feeds);
        if (!Number.isNaN(imports) && seen.imports > imports) refreshRecords(signal);
        imports = seen.imports || 0;
      } catch (error) {
        trouble(error, true);
      }
    }
    await pause(HEALTH_MS, signal);
  }
}

async function watchRecords(signal) {
  for (let round = 0; !signal.aborted; round += 1) {
    if (!document.hidden) await refreshImports(signal);
    if (!document.hidden && newest && round && round % (COVERAGE_MS / IMPORTS_MS) === 0) await refreshCoverage(signal);
    await pause(IMPORTS_MS, signal);
  }
}

async function watchSessions(signal) {
  while (!signal.aborted) {
    await learnSessions(signal).catch((error) => trouble(error));
    await pause(SESSIONS_MS, signal);
  }
}

const refreshRecords = (signal) => Promise.all([refreshImports(signal), refreshCoverage(signal)]);
const refreshImports = (signal) => showImports(dagster, signal).catch((error) => trouble(error));
const refreshCoverage = (signal) => newest && showCoverage(newest.timestamp, dagster, signal).catch((error) => trouble(error));

function showEmpty() {
  show("empty");
  const seconds = Math.floor(Date.now() / 1000);
  const asked = hasKey() ? " -H 'X-API-Key: <key>'" : "";
  if (!byId("example").textContent) {
    say(byId("example"), `curl -s ${location.origin}/gex${asked} -H 'Content-Type: application/json' -d '{\n`
      + `  "timestamp": ${seconds}, "ticker": "SPX", "endpoint": "gex_zero", "spot": 6734.11, "zero_gamma": 6712.95,\n`
      + `  "strikes": [[6730, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]],\n`
      + `              [6735, 348.47, 69.76, [349.05, 346.76, 345.55, 345.53, 342.97]]]}'`);
  }
}

function wantKey(wasWrong) {
  running.abort();
  following.abort();
  keepKey(null);
  setState("locked", "warn");
  show("key-form");
  byId("key-wrong").hidden = !wasWrong;
  hide("figures", "profile-card", "lines-card", "health-card", "records", "empty", "age");
  byId("key").focus();
}

/** Say what keeps the page from being up to date; quiet about what the gateway is merely busy with. */
function trouble(error, isVital = false) {
  if (running.signal.aborted) return;
  if (error instanceof Refused && error.status === 401) return wantKey(true);
  if (error instanceof Refused || (error instanceof Late && !isVital)) return;
  if (!(error instanceof Late || error instanceof Unreachable)) throw error;
  setState("unreachable", "bad");
  byId("trouble").hidden = false;
  document.body.classList.add("unreachable");
  say(byId("trouble"), `The gateway does not answer. ${newest
    ? `What is shown is of ${newYorkTime(newest.timestamp)} New York; ` : ""}the page goes on by itself as soon as it is back.`);
}

function cheer() {
  byId("trouble").hidden = true;
  document.body.classList.remove("unreachable");
}

const show = (...ids) => ids.forEach((id) => (byId(id).hidden = false));
const hide = (...ids) => ids.forEach((id) => (byId(id).hidden = true));

function remember(name, value) {
  url.searchParams.set(name, value);
  history.replaceState(null, "", url);
}

byId("feed").addEventListener("change", (event) => choose(event.target.value));
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key").value = "";
  start();
});

const redraw = () => newest && showProfile(newest, options);
for (const name of ["strikes", "priors"]) {
  byId(name).value = options[name];
  byId(name).addEventListener("change", (event) => {
    options[name] = event.target.value;
    remember(name, options[name]);
    redraw();
  });
}
for (const radio of document.querySelectorAll("#view input")) {
  radio.checked = radio.value === options.view;
  radio.addEventListener("change", () => {
    options.view = radio.value;
    remember("view", options.view);
    redraw();
  });
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const showTheme = () => {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  recolour();
};
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("gex-theme", document.documentElement.dataset.theme);
  } catch {
    // Storage may be forbidden; the choice then lives as long as the page.
  }
  showTheme();
});
dark.addEventListener("change", showTheme);
showTheme();

setInterval(() => newest && showAge(newest.received_at), 500);
start();
