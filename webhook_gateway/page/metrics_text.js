// The Prometheus text of /metrics, as far as this page needs it.

/**
 * Read samples: name to a list of labels and value. Comments are left out.
 * @param {string} text
 * @returns {Map<string, {labels: Record<string, string>, value: number}[]>}
 */
export function readMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const [, name, labels, value] = match;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels: readLabels(labels ?? ""), value: Number(value) });
  }
  return found;
}

function readLabels(text) {
  const pairs = [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return Object.fromEntries(pairs.map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, each) => (each === "n" ? "\n" : each))]));
}

/** One value, or the sum over all labels; NaN when there is none. */
export function total(metrics, name) {
  const samples = metrics.get(name);
  return samples ? samples.reduce((sum, each) => sum + each.value, 0) : NaN;
}

/** The value with this label, `otherwise` when there is none. */
export const labelled = (metrics, name, label, wanted, otherwise) =>
  metrics.get(name)?.find((each) => each.labels[label] === wanted)?.value ?? otherwise;
