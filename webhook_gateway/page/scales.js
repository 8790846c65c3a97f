// Plain arithmetic of the profile: which strikes are shown, where they are, how far the axis reaches.

const NEAR = 25; // strikes on each side of the spot
const MOST_LINES = 5;
const LEAST_SECONDS = 120;
const LEAST_PRICES = 0.05; // above and below

/** Place of a price on a ladder of ascending strikes: 2.5 is half-way between the third and the fourth. */
export function placeOf(price, ladder) {
  if (!Number.isFinite(price) || ladder.length === 0) return NaN;
  const above = ladder.findIndex((strike) => strike >= price);
  if (above === 0) return ladder.length > 1 ? (price - ladder[0]) / (ladder[1] - ladder[0]) : 0;
  const upper = above === -1 ? ladder.length - 1 : above;
  if (upper === 0) return 0;
  return upper - 1 + (price - ladder[upper - 1]) / (ladder[upper] - ladder[upper - 1]);
}

/**
 * The strikes to show, first and last place. A shown part stays where it is until the spot has left its middle
 * third: a picture that is looked at all day must not tremble.
 */
export function shownPart(ladder, spot, wanted, before) {
  const last = ladder.length - 1;
  if (wanted === "all" || last <= 2 * NEAR) return { first: 0, last };
  const place = Number.isFinite(placeOf(spot, ladder)) ? placeOf(spot, ladder) : last / 2;
  if (before && before.last <= last && before.last - before.first === 2 * NEAR) {
    if (Math.abs(place - (before.first + NEAR)) <= NEAR / 3) return before;
  }
  const first = Math.min(Math.max(Math.round(place) - NEAR, 0), last - 2 * NEAR);
  return { first, last: first + 2 * NEAR };
}

/** The reach of an axis over these values, zero included; it shrinks only when it is far too wide. */
export function reach(values, before) {
  let low = 0;
  let high = 0;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (high === low) high = 1;
  const room = (high - low) * 0.06;
  const found = { low: low && low - room, high: high && high + room };
  const fits = before && found.low >= before.low && found.high <= before.high;
  return fits && found.high - found.low > 0.6 * (before.high - before.low) ? before : found;
}

/** The times to show of those from `low` to `high`, epoch seconds: two minutes at least, with a single moment in the middle. */
export function timeReach(times, low, high) {
  if (times.length === 1) return [times[0] - LEAST_SECONDS / 2, times[0] + LEAST_SECONDS / 2];
  return [Math.min(low, high - LEAST_SECONDS), high];
}

/** The prices to show: a little more than there are, and always so many that their cents differ. */
export function priceReach(low, high) {
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 1e-4, LEAST_PRICES);
  return [low - room, high + room];
}

/** Round values for grid lines between two ends. */
export function gridLines({ low, high }) {
  const rough = (high - low) / MOST_LINES;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough) ?? 10);
  const lines = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) lines.push(Math.abs(value) < step / 2 ? 0 : value);
  return lines;
}
