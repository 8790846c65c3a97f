// The recorder's own health: what /ready and /metrics say, every few seconds.

import { ask, askText } from "./api.js";
import { byId, make, say } from "./dom.js";
import { ABSENT, bytes, count, decimals, duration, newYorkTime } from "./format.js";
import { labelled, readMetrics, total } from "./metrics_text.js";

const OLD_SECONDS = 60;
const FIGURES = ["Captures", "Backlog", "All loaded", "Queue", "Quarantined", "Disk free"];
const cells = Object.fromEntries(FIGURES.map((name) => {
  const value = make("span", { class: "value" }, ABSENT);
  const note = make("span", { class: "note" });
  byId("health").append(make("div", {}, make("dt", {}, name), make("dd", {}, value, note)));
  return [name, { value, note }];
}));

let before = null; // the captures counted at the last look, and when that was

/**
 * Look once. Returns whether captures are being loaded, how many imports there were and the feeds that are loaded.
 * @param {AbortSignal} signal
 */
export async function look(signal) {
  const [ready, text] = await Promise.all([ask("/ready", { signal, also: [503] }), askText("/metrics", { signal })]);
  const metrics = readMetrics(text);
  showState(ready);
  showFigures(ready.checks, metrics);
  say(byId("checked"), `checked ${newYorkTime(Date.now())} New York`);
  return {
    isLoading: ready.checks.loader.ok,
    imports: total(metrics, "gex_imports_total"),
    feeds: (metrics.get("gex_feed_age_seconds") ?? []).map((each) => each.labels.feed),
  };
}

const TONES = { ready: "good", degraded: "warn", unavailable: "bad" };

function showState({ status, checks }) {
  const reasons = Object.entries(checks).filter(([, check]) => !check.ok)
    .flatMap(([name, check]) => [check.error, ...Object.entries(check.feeds ?? {}).map(([feed, each]) => each.error && `${feed}: ${each.error}`)]
      .filter(Boolean).map((reason) => `${name}: ${reason}`));
  setState(status, TONES[status] ?? "bad");
  const list = byId("reasons");
  list.hidden = reasons.length === 0;
  list.className = `reasons ${TONES[status] ?? "bad"}`;
  if (list.dataset.shown !== reasons.join("\n")) list.replaceChildren(...reasons.map((reason) => make("li", {}, reason)));
  list.dataset.shown = reasons.join("\n");
}

/** Show the recorder's state in the head of the page. */
export function setState(text, tone) {
  const pill = byId("state");
  pill.className = `pill ${tone}`;
  say(pill, text);
}

function showFigures(checks, metrics) {
  const captures = total(metrics, "gex_captures_total");
  const now = performance.now();
  const rate = before && captures >= before.captures ? ((captures - before.captures) * 1000) / (now - before.now) : NaN;
  before = { captures, now };
  const age = total(metrics, "gex_database_figures_age_seconds"); // NaN while the database was never read
  const queue = (status) => labelled(metrics, "gex_queue_requests", "status", status, Number.isNaN(age) ? NaN : 0);
  const lag = total(metrics, "gex_loader_lag_seconds");
  put("Captures", Number.isFinite(rate) ? `${decimals(rate, 1)} /s` : ABSENT, `${count(captures)} since the start`);
  put("Backlog", bytes(checks.backlog.bytes), checks.backlog.bytes ? `oldest waits ${duration(checks.backlog.age_seconds)}` : "nothing waits");
  put("All loaded", Number.isFinite(lag) ? `${duration(lag)} ago` : ABSENT, `loader restarts ${count(checks.loader.restarts)}`);
  put("Queue", Number.isNaN(age) ? ABSENT : `${count(queue("pending") + queue("started"))} open`,
    `${count(queue("failed"))} failed, ${count(queue("completed"))} done${age > OLD_SECONDS ? `, ${duration(age)} ago` : ""}`);
  put("Quarantined", count(total(metrics, "gex_quarantined_records")), "records set aside");
  put("Disk free", bytes(checks.disk.free_bytes), `journal segment ${count(checks.journal.segment)}`);
}

function put(name, value, note) {
  say(cells[name].value, value);
  say(cells[name].note, note);
}
