// The page put together: which feed, what arrives, how the recorder is.

import { ask, hasKey, keepKey, Late, Refused, Unreachable } from "./api.js";
import { showCoverage } from "./coverage.js";
import { byId, make, say } from "./dom.js";
import { showAge, showFigures } from "./figures.js";
import { newYorkDay, newYorkTime } from "./format.js";
import { look, setState } from "./health.js";
import { showImports } from "./imports.js";
import { resetProfile, showProfile } from "./profile.js";
import { learnSessions } from "./sessions.js";
import { addToLines, fetchSession, resetLines } from "./session_lines.js";
import { fetchStored, learnStored } from "./stored.js";
import { follow, pause } from "./stream.js";
import "./theme_button.js";
import { sayNothing, sayWaiting } from "./unrecorded.js";

const GAP_MS = 30_000; // what the page missed meanwhile is asked for
const HEALTH_MS = 4_000;
const IMPORTS_MS = 60_000;
const SESSIONS_MS = 60_000;
const COVERAGE_MS = 300_000;
const FRESH_MS = 60_000; // what is stored is looked up anew when what is known of it is older

const url = new URL(location.href);
const chosen = (name, known, otherwise) => known.find((each) => each === url.searchParams.get(name)) ?? otherwise;
const options = {
  view: chosen("view", ["volume", "oi", "both"], matchMedia("(max-width: 700px)").matches ? "volume" : "both"),
  strikes: chosen("strikes", ["near", "all"], "near"),
  priors: chosen("priors", ["all", "0", "1", "2", "3", "4", "none"], "all"),
};
let feed = url.searchParams.get("feed") || null; // the one that is shown, or that is to be
let feeds = [];
let stored = null; // the time of each feed's last stored snapshot, once that is known
let isLoading = false; // a database that cannot be had may hold what is not known
let lastMs = 0; // the newest time that is known of any feed
let newest = null; // of the chosen feed
let dagster = "";
let running = new AbortController(); // everything that asks; ended while a key is wanted
let following = null; // ends what belongs to the chosen feed; null while none is
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

/** Ask for feeds until there is the wanted one, or any when none is wanted, then keep to it. */
async function findFeeds(signal) {
  while (!signal.aborted) {
    try {
      const latest = await ask("/gex/latest", { signal });
      if (following) return; // somebody chose meanwhile
      const captured = latest.map((each) => `${each.ticker}:${each.endpoint}`);
      noteFeeds(captured);
      for (const each of latest) noteTime(each.timestamp, signal);
      const newestStored = Object.entries(stored ?? {}).sort(([, one], [, other]) => other - one)[0]?.[0];
      const wanted = feed ?? captured[0] ?? newestStored;
      if (feeds.includes(wanted)) return choose(wanted, latest);
      if (stored && isLoading) sayNothing(feed, feeds);
      else sayWaiting(stored === null);
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
  select.value = feed ?? feeds[0];
}

/** Note a time of which something is known: the calendar ends with the newest. */
function noteTime(ms, signal) {
  if (ms <= lastMs) return;
  const isOfNewDay = newYorkDay(ms) !== newYorkDay(lastMs);
  lastMs = ms;
  if (isOfNewDay) refreshCoverage(signal);
}

function choose(wanted, latest = []) {
  following?.abort();
  following = new AbortController();
  const signal = AbortSignal.any([running.signal, following.signal]);
  feed = wanted;
  newest = null;
  byId("feed").value = feed;
  remember("feed", feed);
  resetProfile();
  resetLines();
  hide("empty", "unknown", "waiting");
  show("figures", "profile-card", "lines-card");
  const known = latest.find((each) => `${each.ticker}:${each.endpoint}` === feed);
  if (known) take(known, signal);
  takeStored(signal);
  follow(feed, signal, (snapshot) => take(snapshot, signal), (error) => trouble(error));
}

/** Take the last stored snapshot of the chosen feed, when it is newer than what was captured. */
async function takeStored(signal) {
  const timestamp = stored?.[feed];
  if (!timestamp || timestamp <= (newest?.timestamp ?? 0)) return;
  try {
    const snapshot = await fetchStored(feed, timestamp, signal);
    if (snapshot) take(snapshot, signal);
  } catch (error) {
    if (signal.aborted) return;
    trouble(error);
    if (newest === null) say(byId("profile-readout"), "What is stored could not be read just now.");
  }
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
  noteTime(snapshot.timestamp, running.signal);
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
        if (!Number.isNaN(imports) && seen.imports > imports) refreshRecords(signal, Date.now());
        imports = seen.imports || 0;
        isLoading = seen.isLoading;
      } catch (error) {
        trouble(error, true);
      }
    }
    await pause(HEALTH_MS, signal);
  }
}

async function watchRecords(signal) {
  for (let round = 0; !signal.aborted; round += 1) {
    const isDue = stored === null || round % (COVERAGE_MS / IMPORTS_MS) === 0;
    if (stored === null || !document.hidden) await (isDue ? refreshRecords(signal, Date.now() - FRESH_MS) : refreshImports(signal));
    await pause(IMPORTS_MS, signal);
  }
}

async function watchSessions(signal) {
  while (!signal.aborted) {
    await learnSessions(signal).catch((error) => trouble(error));
    await pause(SESSIONS_MS, signal);
  }
}

/** Show what is known of what is stored at once, and then what is known of this moment (epoch milliseconds) or later. */
async function refreshStored(signal, since) {
  try {
    for (const wanted of [0, since]) {
      const { asOf, newest: found } = await learnStored(wanted, signal);
      stored = found;
      noteFeeds(Object.keys(stored));
      lastMs = Math.max(lastMs, ...Object.values(stored));
      if (following) takeStored(AbortSignal.any([signal, following.signal]));
      await refreshCoverage(signal);
      if (asOf >= since) return;
    }
  } catch (error) {
    trouble(error);
    await refreshCoverage(signal);
  }
}

const refreshRecords = (signal, since) => Promise.all([refreshImports(signal), refreshStored(signal, since)]);
const refreshImports = (signal) => showImports(dagster, signal).then((ms) => noteTime(ms, signal)).catch((error) => trouble(error));
const refreshCoverage = (signal) => showCoverage(lastMs, dagster, signal).catch((error) => trouble(error));

function wantKey(wasWrong) {
  running.abort();
  following?.abort();
  following = null;
  keepKey(null);
  setState("locked", "warn");
  show("key-form");
  byId("key-wrong").hidden = !wasWrong;
  hide("figures", "profile-card", "lines-card", "health-card", "records", "empty", "unknown", "waiting", "age");
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

setInterval(() => newest && showAge(newest), 500);
start();
