// Where in the Dagster UI something of a day is shown.

/**
 * The page that says why a day was refused or failed, else that of its partition.
 *
 * A reason names the check that was failed, `staged_snapshots bad_records: ...`, and that check's page has each day's
 * verdict under *Partitions*, which no address leads to. The run would be no help: that of `gex import` is one for many
 * files and a success, without steps.
 * @param {string} base of the Dagster UI
 * @param {string} asset whose partition is shown when no check is named
 * @param {string} feed
 * @param {string} date
 * @param {string | null} reason of the coverage or the lineage
 * @returns {{href: string, way: string}} `way`: where to click there, empty when it is the place
 */
export function dayLink(base, asset, feed, date, reason) {
  const [, failed, check] = /\b((?:staged|gex)_(?:snapshots|strikes)|(?:snapshots|strikes)_parquet) (\w+): /.exec(reason ?? "") ?? [];
  if (check) return { href: `${base}/assets/${failed}?view=checks&checkDetail=${check}`, way: `Partitions, ${date}, ${feed}` };
  return { href: `${base}/assets/${asset}?view=partitions&partition=${encodeURIComponent(`${date}|${feed}`)}`, way: "" };
}
