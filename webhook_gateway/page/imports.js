// The last imports of history files and what became of them.

import { ask, Late, Refused } from "./api.js";
import { dayLink } from "./dagster_links.js";
import { byId, make } from "./dom.js";
import { ABSENT, count } from "./format.js";

const SHOWN = 6;
const NOON = "17:00:00Z"; // in New York, or an hour later
const TONES = { imported: "good", unchanged: "good", replaced: "good", refused: "bad", failed: "bad" };
const moment = new Intl.DateTimeFormat("en-GB", {
  timeZone: "America/New_York", day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

/** Ask for the last imports and list them. Returns a time of the newest day among them, epoch milliseconds, 0 without any. */
export async function showImports(dagster, signal) {
  const lines = await read(signal);
  if (!lines) return 0;
  byId("imports").replaceChildren(lines.length ? make("ul", { class: "lines-of" }, ...lines.map((line) => entry(line, dagster)))
    : make("p", { class: "hint" }, "None yet. Import files with gex import PATH, announce one with POST /gex_history_url, or launch a backfill in Dagster."));
  return Math.max(0, ...lines.map((line) => Date.parse(`${line.date}T${NOON}`)).filter(Number.isFinite));
}

/** Read the lineage; null when it cannot be read now, which is said unless there is what was read before. */
async function read(signal) {
  try {
    return await ask(`/lineage?record_type=history&limit=${SHOWN}`, { signal });
  } catch (error) {
    if (!(error instanceof Late || (error instanceof Refused && error.status === 503))) throw error;
    const place = byId("imports");
    if (!place.querySelector("li")) place.replaceChildren(make("p", { class: "hint" }, "The database could not be read just now."));
    return null;
  }
}

function entry(line, dagster) {
  const feed = `${line.ticker}:${line.endpoint}`;
  const { href, way } = dayLink(dagster, TONES[line.status] === "bad" ? "strikes_parquet" : "gex_snapshots", feed, line.date, line.errors);
  const reason = line.errors ? String(line.errors).slice(0, 160) : "";
  return make("li", {},
    make("span", { class: `mark ${TONES[line.status] ?? ""}` }, line.status ?? ABSENT),
    make("a", { href, rel: "noreferrer", title: way ? `In Dagster: ${way}` : false }, `${feed} ${line.date}`),
    make("span", { class: "note", title: reason || false }, reason || `${count(line.records_imported)} snapshots`),
    make("time", {}, line.import_timestamp ? moment.format(line.import_timestamp) : ABSENT));
}
