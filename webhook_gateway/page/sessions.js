// When the exchange is open: pairs of opening and close, epoch milliseconds, as the gateway tells them.

import { ask } from "./api.js";

const PATIENCE_MS = 60_000; // the gateway may have to look into its calendar first

/** @type {[number, number][] | null} */
let known = null; // null until it was asked for

/** Ask for them when the last one that is known is over. */
export async function learnSessions(signal) {
  if (known?.length && Date.now() < known.at(-1)[1]) return;
  try {
    known = await ask("/page/sessions", { signal, patienceMs: PATIENCE_MS });
  } catch (error) {
    known ??= [];
    throw error;
  }
}

/** Whether it is not known yet when sessions are. */
export const isWaiting = () => known === null;

/**
 * The break that a moment is in: when the session before it closed and the next one opens, either null when that is
 * not known. Null during a session, and when no session is known.
 * @param {number} now
 */
export function breakAt(now, sessions = known ?? []) {
  if (!sessions.length || sessions.some(([opens, closes]) => opens <= now && now < closes)) return null;
  return {
    closed: sessions.findLast(([, closes]) => closes <= now)?.[1] ?? null,
    opens: sessions.find(([opens]) => opens > now)?.[0] ?? null,
  };
}
