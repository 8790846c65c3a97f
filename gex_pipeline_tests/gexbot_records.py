"""Records as GexBot sends them, and what was read of them as plain values."""

import json
import math
from typing import Any

import pytest

from gex_pipeline.errors import RecordError
from gex_pipeline.formats.gexbot import Snapshot, parse_snapshot

VENDOR = b"""{"timestamp":1777492800,"ticker":"SPX","min_dte":0,"sec_min_dte":1,"spot":7138.55,"zero_gamma":7112.95,
 "major_pos_vol":7135,"major_pos_oi":7200,"major_neg_vol":7100,"major_neg_oi":6900,
 "strikes":[[6890,-228.01,-86.9,[-240.55,-243.15,-245.22,-221.27,-220.12]],
            [6895,-48.47,69.76,[-49.05,-46.76,-45.55,-45.53,-42.97]]],
 "sum_gex_vol":1712585.519,"sum_gex_oi":51521.105,"delta_risk_reversal":0.118,
 "max_priors":[[7140,170979.742],[7135,1145886.722],[7135,997473.336],[7135,1106210.715]]}"""
MINIMAL: dict[str, Any] = {"timestamp": 1777492800, "spot": 7138.55}
PRIORS = [-240.55, -243.15, -245.22, -221.27, -220.12]

Strike = tuple[float | None, float | None, float | None, float | None, list[float | None] | None]


def parsed(**changes: Any) -> Snapshot:
    return parse_snapshot(json.dumps(MINIMAL | changes).encode())


def refused_fields(record: bytes) -> list[str]:
    with pytest.raises(RecordError) as refused:
        parse_snapshot(record)
    assert len(str(refused.value)) < 400
    return [problem.field for problem in refused.value.problems]


def refused(**changes: Any) -> list[str]:
    return refused_fields(json.dumps(MINIMAL | changes).encode())


def refused_text(field: str, text: str) -> list[str]:
    """Fields refused when one of them is this very text, which need not be JSON."""
    record = json.dumps({name: value for name, value in MINIMAL.items() if name != field})
    return refused_fields(f'{record[:-1]},"{field}":{text}}}'.encode())


def ladder(snapshot: Snapshot) -> list[Strike]:
    """The strikes as plain values, None where nothing was sent."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    strikes = snapshot.strikes
    vannas = [math.nan] * len(strikes.table) if strikes.vanna is None else strikes.vanna.tolist()
    assert len(strikes.table) == len(strikes.prior_counts) == len(vannas)
    assert len(strikes.priors) == sum(count for count in strikes.prior_counts if count > 0)
    found, start = [], 0
    for (level, gamma, oi_gamma), vanna, count in zip(strikes.table, vannas, strikes.prior_counts, strict=True):
        priors = None if count < 0 else [plain(prior) for prior in strikes.priors[start : start + count]]
        start += max(count, 0)
        found.append((plain(level), plain(gamma), plain(oi_gamma), plain(vanna), priors))
    return found
