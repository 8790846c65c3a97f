// The key figures of the newest snapshot, its age, and the tab's title.

import { byId, make, say } from "./dom.js";
import { ABSENT, decimals, duration, newYorkDate, newYorkMoment, newYorkTime, price, signed, strike } from "./format.js";
import { breakAt, isWaiting } from "./sessions.js";

const STALE_MS = 30_000;

const FIGURES = [
  ["spot", "Spot", (s) => price(s.spot_price), (s) => distance(s)],
  ["zero-gamma", "Zero gamma", (s) => price(s.zero_gamma || NaN), (s) => (s.zero_gamma ? side(s) : "not yet")],
  ["", "Net GEX, volume", (s) => signed(s.net_gex_vol ?? s.sum_gex_vol ?? s.net_gex), () => ""],
  ["", "Net GEX, OI", (s) => signed(s.net_gex_oi ?? s.sum_gex_oi), () => ""],
  ["", "Major +", (s) => strike(s.major_pos_vol), (s) => `by OI ${strike(s.major_pos_oi)}`],
  ["", "Major −", (s) => strike(s.major_neg_vol), (s) => `by OI ${strike(s.major_neg_oi)}`],
  ["", "Delta risk reversal", (s) => decimals(s.delta_risk_reversal ?? NaN, 3), () => ""],
  ["", "New York", (s) => newYorkTime(s.timestamp), (s) => newYorkDate(s.timestamp)],
];

const cells = FIGURES.map(([kind, name]) => {
  const value = make("span", { class: "value" }, ABSENT);
  const note = make("span", { class: "note" });
  byId("figures").querySelector("dl").append(make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value, note)));
  return { value, note };
});

/** Show a snapshot's figures. */
export function showFigures(snapshot) {
  FIGURES.forEach(([, , value, note], index) => {
    say(cells[index].value, value(snapshot));
    say(cells[index].note, note(snapshot));
  });
  document.title = `${price(snapshot.spot_price)} ${snapshot.ticker} ${snapshot.endpoint}`;
}

/**
 * Show how long ago a snapshot came, or that the session is closed; a session's silence is a warning. One that was read
 * from what is stored never came to this page: its day is shown.
 */
export function showAge({ received_at: receivedAt, timestamp }) {
  const now = Date.now();
  if (receivedAt === undefined) return showPill(`stored, of ${newYorkDate(timestamp)}`, "");
  const age = duration(Math.max(0, now - receivedAt) / 1000);
  const isSilent = now - receivedAt > STALE_MS;
  const closed = isSilent ? breakAt(now) : null;
  showPill(closed ? closedText(closed) : isSilent && !isWaiting() ? `stale: nothing for ${age}` : `${age} old`,
    isSilent ? (closed || isWaiting() ? "" : "warn") : "good");
}

function showPill(text, tone) {
  const pill = byId("age");
  pill.hidden = false;
  pill.className = `pill ${tone}`;
  say(pill, text);
}

function closedText({ closed, opens }) {
  const since = closed === null ? "session closed" : `session closed ${newYorkMoment(closed)}`;
  return opens === null ? since : `${since}, next opens ${newYorkMoment(opens)} New York`;
}

function distance({ spot_price: spot, zero_gamma: zero }) {
  return zero && Number.isFinite(spot) ? `${price(Math.abs(spot - zero))} ${spot >= zero ? "above" : "below"} zero γ` : "";
}

function side({ spot_price: spot, zero_gamma: zero }) {
  return Number.isFinite(spot) ? `${decimals((Math.abs(zero - spot) / spot) * 100, 2)} % ${zero >= spot ? "above" : "below"} spot` : "";
}
