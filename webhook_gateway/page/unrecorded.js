// What is said when there is nothing to show: of the feed that is wanted, or at all.

import { hasKey } from "./api.js";
import { byId, make, say } from "./dom.js";

/** Say that it is not known yet what is recorded, because it is looked for, or cannot be. */
export function sayWaiting(isLooking) {
  byId("waiting").hidden = false;
  byId("unknown").hidden = byId("empty").hidden = true;
  say(byId("waiting"), isLooking ? "Looking for what is recorded …" : "What is recorded is not known while captures cannot be loaded.");
}

/**
 * Say that nothing of this feed is recorded and what is, or that nothing is.
 * @param {string | null} feed
 * @param {string[]} feeds
 */
export function sayNothing(feed, feeds) {
  byId("waiting").hidden = true;
  byId("unknown").hidden = feeds.length === 0;
  byId("empty").hidden = feeds.length > 0;
  if (!feeds.length) return fillExample();
  say(byId("unknown").querySelector("h2"), `Nothing of ${feed} is recorded`);
  const list = byId("unknown").querySelector("ul");
  if (list.children.length === feeds.length) return;
  list.replaceChildren(...feeds.map((each) => make("li", {}, make("a", { href: `?feed=${encodeURIComponent(each)}` }, each))));
}

function fillExample() {
  const seconds = Math.floor(Date.now() / 1000);
  const asked = hasKey() ? " -H 'X-API-Key: <key>'" : "";
  if (!byId("example").textContent) {
    say(byId("example"), `curl -s ${location.origin}/gex${asked} -H 'Content-Type: application/json' -d '{\n`
      + `  "timestamp": ${seconds}, "ticker": "SPX", "endpoint": "gex_zero", "spot": 6734.11, "zero_gamma": 6712.95,\n`
      + `  "strikes": [[6730, -228.01, -86.9, [-240.55, -243.15, -245.22, -221.27, -220.12]],\n`
      + `              [6735, 348.47, 69.76, [349.05, 346.76, 345.55, 345.53, 342.97]]]}'`);
  }
}
