// Snapshots of one feed as they arrive: server-sent events, read by hand because the key goes in a header.

import { ask, open, Refused } from "./api.js";

const SILENCE_MS = 45_000; // heartbeats come more often than this
const POLL_MS = 1_000;
const POLLS = 60; // until the stream is tried again
const LONGEST_PAUSE_MS = 30_000;

/**
 * Hand over snapshots until the signal; come back after every break, later each time.
 * @param {string} feed
 * @param {AbortSignal} signal
 * @param {(snapshot: any) => void} take
 * @param {(error: unknown) => void} tell of trouble
 */
export async function follow(feed, signal, take, tell) {
  let pauseMs = 1000;
  const note = (snapshot) => {
    pauseMs = 1000;
    take(snapshot);
  };
  while (!signal.aborted) {
    try {
      await listen(feed, signal, note);
    } catch (error) {
      if (signal.aborted) return;
      tell(error);
      if (error instanceof Refused && error.status === 401) return;
      if (error instanceof Refused) await poll(feed, signal, note, tell);
    }
    await pause(pauseMs * (0.75 + Math.random() / 2), signal);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

/** Read one connection to its end; silence ends it too. */
async function listen(feed, signal, take) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const both = AbortSignal.any([signal, silence.signal]);
    const answer = await open(`/gex/stream?feed=${encodeURIComponent(feed)}`, { signal: both });
    const read = eventReader((name, data) => name === "snapshot" && take(JSON.parse(data)));
    const texts = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await texts.read(); !piece.done; piece = await texts.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      read(piece.value);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Return a function that takes a stream's text piece by piece and calls back with each whole event. */
export function eventReader(found) {
  let rest = "";
  return (piece) => {
    rest += piece;
    const events = rest.split(/\r?\n\r?\n/);
    rest = events.pop() ?? "";
    for (const event of events) {
      let name = "message";
      const data = [];
      for (const line of event.split(/\r?\n/)) {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        if (field === "event") name = value;
        if (field === "data") data.push(value);
      }
      if (data.length) found(name, data.join("\n"));
    }
  };
}

async function poll(feed, signal, take, tell) {
  const [ticker, endpoint] = feed.split(":");
  const query = new URLSearchParams({ ticker, endpoint });
  let newest = null;
  for (let polls = 0; polls < POLLS && !signal.aborted; polls += 1) {
    try {
      const [snapshot] = await ask(`/gex/latest?${query}`, { signal });
      if (snapshot && snapshot.received_at !== newest) take(snapshot);
      newest = snapshot?.received_at;
    } catch (error) {
      if (signal.aborted) return;
      tell(error);
    }
    await pause(POLL_MS, signal);
  }
}

/** Wait, but no longer than until the signal. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
