// Questions to the gateway, with the key as a header where there is one. Nothing else here talks to anybody.

/** The gateway did not answer at all. */
export class Unreachable extends Error {}

/** It lives but does not answer this question in time: what is slow is not worth an alarm. */
export class Late extends Error {}

/** It answered with a status that was not asked for: 401 wants the key, 404 does not know, 503 is busy. */
export class Refused extends Error {
  constructor(status) {
    super(`answered ${status}`);
    this.status = status;
  }
}

const PATIENCE_MS = 10_000;
const BUSY_TRIES = 10;
const BUSY_PAUSE_MS = 1_000;
const PLACE = "gex-api-key";
let key = null;
try {
  key = sessionStorage.getItem(PLACE);
} catch {
  // Storage may be forbidden; the key then lives as long as the page.
}

export const hasKey = () => key !== null;

/** Keep a key for this tab, or forget it with null. */
export function keepKey(value) {
  key = value;
  try {
    if (value === null) sessionStorage.removeItem(PLACE);
    else sessionStorage.setItem(PLACE, value);
  } catch {
    // as above
  }
}

/**
 * Send a question and return the answer once its head is there.
 * @param {string} path
 * @param {{signal?: AbortSignal, also?: number[]}} options `also`: statuses that are answers too
 */
export async function open(path, { signal, also = [] } = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal, headers: key === null ? {} : { "X-API-Key": key }, cache: "no-store" });
  } catch (error) {
    throw signal?.aborted ? error : new Unreachable("the gateway does not answer", { cause: error });
  }
  if (!answer.ok && !also.includes(answer.status)) throw new Refused(answer.status);
  return answer;
}

/** Ask and return the JSON of the answer; Late when there is none within `patienceMs`. */
export const ask = (path, options) => whole(path, options, (answer) => answer.json());

/** Ask and return `found`, the JSON of the answer, and `asOf`, the epoch milliseconds that it says it is of. */
export const askDated = (path, options) =>
  whole(path, options, async (answer) => ({ asOf: Number(answer.headers.get("X-Gex-As-Of")), found: await answer.json() }));

/** Ask and return the text of the answer. */
export const askText = (path, options) => whole(path, options, (answer) => answer.text());

/** Ask as `ask` does, again for a while when the database is busy. */
export async function askWhileBusy(path, signal) {
  for (let left = BUSY_TRIES; ; left -= 1) {
    try {
      return await ask(path, { signal });
    } catch (error) {
      if (signal.aborted || left === 0 || !(error instanceof Refused && error.status === 503)) throw error;
      await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
    }
  }
}

async function whole(path, { signal, patienceMs = PATIENCE_MS, ...options } = {}, read) {
  const late = AbortSignal.timeout(patienceMs);
  try {
    return await read(await open(path, { ...options, signal: signal ? AbortSignal.any([signal, late]) : late }));
  } catch (error) {
    throw late.aborted && !signal?.aborted ? new Late(`no answer within ${patienceMs / 1000} s`, { cause: error }) : error;
  }
}
