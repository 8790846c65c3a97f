// What is stored: which feeds, and the newest snapshot of one in the shape of GET /gex/latest.

import { askDated, askWhileBusy } from "./api.js";
import { pause } from "./stream.js";

const PATIENCE_MS = 120_000; // the first answer after a start is looked for, on every day there is
const PAUSE_MS = 3_000;
const TRIES = 20;

/**
 * Ask which feeds are stored: `newest` has the time of each one's last snapshot, `asOf` says when that was found. The
 * gateway gives its last answer while it looks anew, so it is asked again for one of this moment or later, for a while.
 * @param {number} since epoch milliseconds
 */
export async function learnStored(since, signal) {
  for (let left = TRIES; ; left -= 1) {
    const { asOf, found: newest } = await askDated("/page/feeds", { signal, patienceMs: PATIENCE_MS });
    if (asOf >= since || left === 0 || signal.aborted) return { asOf, newest };
    await pause(PAUSE_MS, signal);
  }
}

/**
 * Ask for the stored snapshot of a moment, null when there is none. It has no `received_at`.
 * @param {string} feed
 * @param {number} timestamp epoch milliseconds
 */
export async function fetchStored(feed, timestamp, signal) {
  const moment = new URLSearchParams({ feed, start: String(timestamp), end: String(timestamp + 1) });
  const [snapshot] = await askWhileBusy(`/gex?${moment}`, signal);
  if (!snapshot) return null;
  const strikes = await askWhileBusy(`/gex/strikes?${new URLSearchParams({ feed, timestamp: String(timestamp) })}`, signal);
  return { ...snapshot, strikes };
}
