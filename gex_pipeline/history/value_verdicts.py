"""Whether the values of a published day can be: spots, ladders, and what a snapshot says of its own ladder."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from gex_pipeline.history.observed import MAJORS, VENDOR_NUMBERS, Day, ask
from gex_pipeline.history.verdicts import Subject, Verdict, clock, markdown
from gex_pipeline.storage.lease import quoted
from gex_pipeline.trading_days import session_bounds_ms

# What no index does from one snapshot to the next, in what time at most they may be apart to be compared.
MOST_JUMP, JUMP_MS = 0.05, 300_000
# Zeros stand for "not yet" so long.
OPENING_MS = 300_000
# Strikes are rounded to two decimals, totals to three; a user's own table may keep single precision.
ROUNDING, SINGLE_PRECISION = 0.005, 1e-6
# Below this share of agreement a total or a major is something else in this feed, and not compared.
CUSTOM = 0.01
_SHOWN = 5


def required_fields(subject: Subject, day: Day) -> Verdict:
    """Each snapshot has a spot and a ladder, and every number that others from the same source have."""
    counts = ", ".join(f"count({name}) AS {name}" for name in VENDOR_NUMBERS)
    by_source = f"SELECT source, count(*), count(strikes), {counts} FROM day GROUP BY source"
    missing: list[tuple[str, str, int, int]] = []
    for source, rows, *present in ask(subject.connection, day, by_source):
        for name, count in zip(("strikes", *VENDOR_NUMBERS), present, strict=True):
            if count < rows and (count or name in {"strikes", "spot_price"}):
                missing.append((name, source or "unknown", rows - count, rows))
    found = "; ".join(f"{name} is missing in {gone:,} of {rows:,} ({source})" for name, source, gone, rows in missing)
    return Verdict(
        not missing,
        found or f"nothing is missing in {len(day.times):,} snapshots",
        {"snapshots": len(day.times), "values_missing": sum(gone for _, _, gone, _ in missing)},
        markdown(("field", "source", "missing", "snapshots"), missing),
    )


def spot(subject: Subject, day: Day) -> Verdict:
    """Spots are positive and do not jump by more than 5 % from one snapshot to the next."""
    jump = "abs(spot_price / previous_spot - 1)"
    is_jump = f"previous_spot > 0 AND timestamp - previous_ms <= {JUMP_MS:d} AND {jump} > {MOST_JUMP:g}"
    counted = _counts(("spot_price <= 0", f"spot_price > 0 AND {is_jump}"))
    bad, jumps, lowest, highest, largest = _count(
        subject,
        day,
        f"{counted}, min(spot_price), max(spot_price), max({jump}) FILTER (previous_spot > 0 AND spot_price > 0)",
    )
    return Verdict(
        not bad and not jumps,
        f"{_number(lowest)} to {_number(highest)}; {bad:,} are not positive, {jumps:,} jump by more than "
        f"{MOST_JUMP:.0%}",
        {"not_positive": bad, "jumps": jumps, "lowest": lowest, "highest": highest, "largest_jump": largest},
        _examples(subject, day, f"spot_price <= 0 OR {is_jump}", ("spot_price", "previous_spot")),
    )


def zero_gamma(subject: Subject, day: Day) -> Verdict:
    """A zero, which stands for "not yet", comes at the open only."""
    opened, _ = session_bounds_ms(subject.partition.date)
    is_late = f"zero_gamma = 0 AND timestamp > {opened + OPENING_MS:d}"
    late, all_zeros = _count(subject, day, _counts((is_late, "zero_gamma = 0")))
    return Verdict(
        not late,
        f"{all_zeros:,} are 0, {late:,} of them later than {OPENING_MS // 60_000} minutes after the open",
        {"zeros": all_zeros, "late_zeros": late},
        _examples(subject, day, is_late, ("zero_gamma", "spot_price")),
    )


def ladders(subject: Subject, day: Day) -> Verdict:
    """Strikes are positive and come once, the spot is among them, and no ladder is half as long as usual."""
    usual = _count(subject, day, "coalesce(median(strikes), 0)")[0]
    conditions = {
        "not_positive": "lowest <= 0",
        "spot_outside": "spot_price NOT BETWEEN lowest AND highest",
        "short": f"strikes < {usual / 2:g}",
    }
    counts = dict(zip(conditions, _count(subject, day, _counts(conditions.values())), strict=True))
    repeated, twice = len(day.repeated), ", ".join(map(str, day.repeated[:_SHOWN]))
    return Verdict(
        not any(counts.values()) and not repeated,
        f"usually {usual:g} strikes; {counts['not_positive']:,} ladders with strikes that are not positive, "
        f"{counts['spot_outside']:,} without the spot, {counts['short']:,} of less than half; "
        f"{repeated:,} strikes come twice",
        {"usual_strikes": usual, **counts, "repeated_strikes": repeated},
        _examples(
            subject,
            day,
            f"{' OR '.join(conditions.values())} OR timestamp IN ({twice or 'NULL'})",
            ("strikes", "lowest", "spot_price", "highest"),
        ),
    )


class _Comparison(NamedTuple):
    """How a number of a snapshot is compared with its ladder, in conditions on a row of the day.

    Attributes:
        is_compared: there is something to compare.
        differs: it does not agree.
        is_excused: it agrees after all; only asked of rows that differ, as it may read the strikes.
        is_impossible: what cannot be even where the number is something else in the whole feed.
    """

    is_compared: str
    differs: str
    is_excused: str = "false"
    is_impossible: str = "false"


def totals(subject: Subject, day: Day) -> Verdict:
    """What a snapshot gives as the sum of its ladder is that sum, but for rounding."""
    pairs = (("sum_gex_vol", "total_vol", "most_vol", "least_vol"), ("sum_gex_oi", "total_oi", "most_oi", "least_oi"))
    comparisons = {}
    for name, total, most, least in pairs:
        tolerance = f"strikes * ({ROUNDING:g} + {SINGLE_PRECISION:g} * greatest({most}, -{least})) + 0.001"
        comparisons[name] = _Comparison(
            f"{total} IS NOT NULL AND {_is_given(subject, name)}", f"abs({name} - {total}) > {tolerance}"
        )
    return _agreement(subject, day, comparisons, ("sum_gex_vol", "total_vol", "sum_gex_oi", "total_oi"))


def majors(subject: Subject, day: Day) -> Verdict:
    """The major strikes that a snapshot names are those where its ladder has its extremes."""
    strikes = f"read_parquet('{quoted(day.strikes_path)}')"
    comparisons = {}
    for name, extreme, place, column in MAJORS:
        # A ladder that is nowhere above zero has no positive major.
        has_one = f"{extreme} {'>' if extreme.startswith('most') else '<'} 0"
        comparisons[name] = _Comparison(
            f"{has_one} AND {_is_given(subject, name)}",
            f"abs({name} - {place}) >= {ROUNDING:g}",
            # Two strikes may share the extreme.
            f"EXISTS (SELECT 1 FROM {strikes} AS ladder WHERE ladder.timestamp = day.timestamp "
            f"AND ladder.{column} = day.{extreme} AND abs(ladder.strike - day.{name}) < {ROUNDING:g})",
            f"{name} NOT BETWEEN lowest AND highest",
        )
    return _agreement(subject, day, comparisons, tuple(column for major in MAJORS for column in major[:3:2]))


def _agreement(subject: Subject, day: Day, comparisons: dict[str, _Comparison], shown: tuple[str, ...]) -> Verdict:
    """Judge numbers that agree with the ladder all day long or, when they mean something else in a feed, never."""
    wrong: list[str] = []
    found: list[str] = []
    metadata: dict[str, Any] = {}
    rules = [(each.is_compared, f"{each.is_compared} AND {each.differs}") for each in comparisons.values()]
    counted = _count(subject, day, _counts(condition for pair in rules for condition in pair))
    for (name, each), compared, looked_wrong in zip(comparisons.items(), counted[::2], counted[1::2], strict=True):
        differing = looked_wrong
        if looked_wrong:
            is_other = compared - looked_wrong < CUSTOM * compared
            found += [f"{name} is something else than the ladder says all day and not compared with it"] * is_other
            rule = each.is_impossible if is_other else f"{each.differs} AND NOT {each.is_excused}"
            wrong.append(f"({each.is_compared} AND {rule})")
            [(differing,)] = ask(subject.connection, day, f"SELECT count(*) FROM day WHERE {wrong[-1]}")
        found.append(f"{name} differs in {differing:,} of {compared:,}")
        metadata |= {f"{name}_compared": compared, f"{name}_differing": differing}
    is_wrong = any(metadata[f"{name}_differing"] for name in comparisons)
    return Verdict(not is_wrong, "; ".join(found), metadata, _examples(subject, day, " OR ".join(wrong), shown))


def _is_given(subject: Subject, name: str) -> str:
    """Return the condition that a number is there; at the open 0 stands for "not yet"."""
    opened, _ = session_bounds_ms(subject.partition.date)
    return f"({name} <> 0 OR timestamp > {opened + OPENING_MS:d})"


def _counts(conditions: Iterable[str]) -> str:
    return ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)


def _count(subject: Subject, day: Day, aggregates: str) -> tuple[Any, ...]:
    """Return aggregates over the day's snapshots."""
    return ask(subject.connection, day, f"SELECT {aggregates} FROM day")[0]


def _examples(subject: Subject, day: Day, condition: str, columns: tuple[str, ...]) -> str:
    """Return the first snapshots that meet a condition, as a Markdown table; empty when none does or it is empty."""
    if not condition:
        return ""
    rows = ask(
        subject.connection,
        day,
        f"SELECT timestamp, {', '.join(columns)} FROM day WHERE ({condition}) ORDER BY timestamp LIMIT {_SHOWN:d}",
    )
    return markdown(("time", *columns), [(clock(time), *values) for time, *values in rows])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.2f}"
