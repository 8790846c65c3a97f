"""Generated history files whose records are odd in every way that is accepted, and in some that are not."""

import datetime as dt
import json
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from gex_pipeline.audit.plain_reading import WHOLE

OPENING = 1763130601

# Numerals as they stand in JSON, then other values that mean a number or none, then what is no number.
NUMERALS = (
    "0", "-0", "-0.0", "1e3", "1E-2", "-2.5E+1", "0.1", "0.30000000000000004", "9007199254740993",
    "6712.950000000001", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "1" + "0" * 300, "5e-324", "1e-400", "2.2250738585072011e-308", "1.7976931348623157e308",
    "123456789.123456789123456789",
)  # fmt: skip
OTHER_VALUES = ("null", '"17"', '"-1.5e3"', '".5"', '"5."', '"+0"', '"-0"', '"1e-400"')
NO_NUMBERS = ("1e400", "9" * 400, '"1e400"', '"NaN"', '"x"', '""', '" 1"', '"1_0"', "true", "[1]", "{}", '"0x1"')
NO_JSON = ("NaN", "-Infinity", "01", "+1", ".5", "1.", "[1,]", "tru", "{oops}", "'x'")
MAXIMA = (
    "null", '"null"', "[]", "[7140, 1.10]", "[[7140,170979.742],[7135,-0]]", '"[[7140, 1.10]]"', '" [1]"', '"[1,"',
    '""', '"none"', '"[1e400]"', "[1e400]", '{"one":[7140,2E+3],"one":1}', "5", '"NaN"',
    '"\\u005b1]"', '"\\"x\\""', "true",
)  # fmt: skip
UNKNOWN = (
    "1.10",
    "1e400",
    "null",
    '"\\u00e9\\n"',
    '"é, ] }"',
    "[1, 2E+3, [ ]]",
    '{"spot":1,"spot":2}',
    '"["',
    "9" * 30,
)
ODD_NAMES = {
    "spot": '"\\u0073pot"',
    "strikes": '"strike\\u0073"',
    "timestamp": '"time\\u0073tamp"',
    "ticker": '"tick\\u0065r"',
}
VENDOR_NUMBERS = (
    "min_dte", "sec_min_dte", "spot", "zero_gamma", "major_pos_vol", "major_pos_oi", "major_neg_vol", "major_neg_oi",
)  # fmt: skip


class Writer:
    """Writes records of which each is odd in the ways that are named; what is chosen follows from `random` alone."""

    def __init__(self, random: Random, blanks: tuple[str, ...]) -> None:
        self._random = random
        self._blanks = blanks

    def record(self, position: int, strikes: int, oddities: frozenset[str]) -> str:
        self._oddities = oddities
        # Records that differ from the vendor's in one value only, and such that differ everywhere.
        self._density = self._random.choice([0.05, 0.3, 1])
        if self._is("no JSON at all", 0.3):
            return self._random.choice(
                ["{oops}", '{"timestamp":}', "5", "null", '[{"spot":1}]', '"x"', "{}", "{1:2}"]
            )
        members = {"timestamp": self._time(position), "ticker": '"SPX"'}
        members |= {name: self._number(name) for name in VENDOR_NUMBERS}
        members["strikes"] = self._list([self._strike() for _ in range(strikes)])
        members |= {name: self._number(name) for name in ("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal")}
        members["max_priors"] = self._list([self._list([self._number(), self._number()]) for _ in range(6)])
        if self._is("values", self._density):
            members["max_priors"] = self._random.choice(MAXIMA)
        if self._is("bad", 0.1):
            members["ticker"] = self._random.choice(['"NDX"', "null", "5", '""'])
        if self._is("bad", 0.1):
            members["min_dte"] = self._random.choice(["1.5", "2147483648", "-2147483648", '"1.5"', "1E-1"])
        pairs = list(members.items())
        if "fields" in oddities:
            pairs = self._other_fields(pairs)
        if self._is("bad", 0.2):
            pairs.append((self._random.choice(["note", "spot"]), self._random.choice(NO_JSON)))
        blank = self._blank
        return (
            "{"
            + ",".join(f"{blank()}{self._name(name)}{blank()}:{blank()}{value}{blank()}" for name, value in pairs)
            + "}"
        )

    def _is(self, oddity: str, share: float) -> bool:
        return oddity in self._oddities and self._random.random() < share

    def _blank(self) -> str:
        return self._random.choice(self._blanks)

    def _list(self, values: list[str]) -> str:
        return "[" + ",".join(f"{self._blank()}{value}{self._blank()}" for value in values) + "]"

    def _name(self, name: str) -> str:
        return ODD_NAMES[name] if name in ODD_NAMES and self._is("fields", 0.1) else json.dumps(name)

    def _number(self, name: str = "") -> str:
        random = self._random
        if self._is("bad", 0.01):
            return random.choice(NO_NUMBERS)
        if self._is("values", 0.3 * self._density):
            return random.choice(OTHER_VALUES)
        if name in WHOLE:
            return (
                random.choice(["1", "1.0", "2147483647", "1E1", "-0"]) if self._is("numerals", self._density) else "1"
            )
        if self._is("numerals", self._density):
            return random.choice(NUMERALS)
        return random.choice([str(random.randint(-9999, 9999)), str(round(random.uniform(-9999, 9999), 2))])

    def _strike(self) -> str:
        level, gamma, oi_gamma = self._number(), self._number(), self._number()
        level = "6730.25" if level == "null" else level
        priors = self._list([self._number() for _ in range(5)])
        if self._is("bad", 0.03):
            return self._random.choice(
                ["[]", "[1]", "5", "null", "[null,1]", "[1,2,3,4]", "[1,2,3,[],5]", '{"gamma":1}']
            )
        if not self._is("shapes", self._density):
            return self._list([level, gamma, oi_gamma, priors])
        some = self._list([self._number() for _ in range(self._random.choice([0, 1, 2, 4, 6]))])
        arrays = (
            [level, gamma],
            [level, gamma, oi_gamma],
            [level, gamma, oi_gamma, some],
            [level, gamma, oi_gamma, "null"],
        )
        if self._random.random() < 0.6:
            return self._list(self._random.choice(arrays))
        fields = [
            ("gamma_now", self._random.choice([gamma, "null"])),
            ("gamma", self._number()),
            ("oi_gamma", oi_gamma),
            ("vanna", self._number()),
        ]
        fields += [("history", self._random.choice([priors, some, "null"])), ("charm", "0.5"), ("gamma", gamma)]
        chosen = [("strike", level), *self._random.sample(fields, self._random.randint(0, 5))]
        self._random.shuffle(chosen)
        return "{" + ",".join(f'{self._blank()}"{name}":{value}' for name, value in chosen) + "}"

    def _time(self, position: int) -> str:
        seconds = OPENING + position
        if "times" not in self._oddities:
            return str(seconds)
        if self._is("bad", 0.1):
            return self._random.choice(
                ["null", "0", "1e400", '"yesterday"', "true", "99999999999", '"1763130602412000"']
            )
        seconds -= self._random.choice([0, 0, 1, 2, 30])
        thousandths = self._random.choice([0, 0, 412, 999])
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=thousandths * 1000)
        return self._random.choice(
            [
                f"{seconds}.{thousandths:03}",
                f"{seconds}.4127",
                f"{seconds}{thousandths:03}",
                f'" {seconds}{thousandths:03}"',
                f"{seconds / 1e9:.9f}e9",
                json.dumps(moment.isoformat()),
                json.dumps(moment.replace(tzinfo=None).isoformat(" ")),
                json.dumps(moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
                json.dumps(moment.astimezone(dt.timezone(dt.timedelta(hours=-5))).isoformat()),
            ]
        )

    def _other_fields(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Leave out, repeat, move and add fields."""
        random = self._random
        pairs = [pair for pair in pairs if pair[0] == "timestamp" or random.random() > 0.2 * self._density]
        if random.random() < 0.2 * self._density:
            random.shuffle(pairs)
        tickers = ['"SPX"', '"spx"', '" SPX "'] + (['"NDX"', "null", "5", '""'] if self._is("bad", 0.3) else [])
        endpoints = ['"gex_zero"', '"ZERO"', '"zero"', "null"] + (['"one"', "0"] if self._is("bad", 0.3) else [])
        offered = [
            ("ticker", random.choice(tickers)),
            ("endpoint", random.choice(endpoints)),
            ("category", random.choice(endpoints)),
            ("gex_type", random.choice(endpoints)),
            ("spot_price", self._number()),
            ("spot", self._number()),
            ("net_gex", self._number()),
            ("net_gex_vol", self._number()),
            ("max_priors", random.choice(MAXIMA)),
            ("max_change", random.choice(MAXIMA)),
            ("strikes", random.choice(["[]", "null", self._list([self._strike()])])),
            *((name, random.choice(UNKNOWN)) for name in ("vix", "rows", "é", "")),
        ]
        if self._is("bad", 0.2):
            offered += [
                ("min_dte", random.choice(["1.5", "2147483648", '"1.5"'])),
                ("strikes", random.choice(["{}", '"x"'])),
            ]
        for pair in random.sample(offered, random.randint(0, 5)):
            pairs.insert(random.choice([0, len(pairs), random.randint(0, len(pairs))]), pair)
        return pairs


ODDITIES = ("numerals", "values", "shapes", "times", "fields", "bad", "no JSON at all")


@dataclass(frozen=True)
class Plan:
    """How to write a file: its layout, and of each record the seed, ladder size, oddities, or that it repeats one."""

    layout: str
    records: list[tuple[int, int, frozenset[str], bool]]


record_plans = st.tuples(
    st.integers(0, 2**32),
    st.integers(0, 12),
    st.just(frozenset[str]()) | st.frozensets(st.sampled_from(ODDITIES), max_size=4),
    st.sampled_from([False] * 9 + [True]),
)
plans = st.builds(
    Plan,
    st.sampled_from(["array", "lines", "wrapper"]),
    st.integers(1, 40).flatmap(lambda size: st.lists(record_plans, min_size=size, max_size=size)),
)


def write_records(plan: Plan) -> list[str]:
    blanks = ("", "", " ") if plan.layout == "lines" else ("", "", "", " ", "\n\t", "\r\n")
    records: list[str] = []
    for position, (seed, strikes, oddities, repeats) in enumerate(plan.records):
        random = Random(seed)
        if repeats and records:
            records.append(random.choice(records))
            continue
        is_blank = random.random() < 0.3
        # What opens a file of lines has to be a record for the file to be taken as one.
        is_plain = plan.layout == "lines" and position == 0
        writer = Writer(random, blanks if is_blank else ("",))
        records.append(writer.record(position, strikes, frozenset() if is_plain else oddities))
    return records


def write_document(layout: str, records: list[str]) -> bytes:
    if layout == "lines":
        return "".join(f"{record}\n" for record in records).encode()
    array = f"[{','.join(records)}]"
    return (f'{{"results":{array},"next":null}}' if layout == "wrapper" else array).encode()
