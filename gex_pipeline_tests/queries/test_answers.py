"""`GET /gex` and `GET /gex/strikes` over real HTTP."""

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from gex_pipeline.feeds import Feed
from gex_pipeline.formats.columns import PUBLISHED_SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.day import export_tables
from gex_pipeline.history.paths import Partition
from gex_pipeline.queries.spans import Span, day_span
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.gateway_requests import KEY, SNAPSHOT, get, post, problems
from gex_pipeline_tests.processes import GatewayProcess, running_gateway
from gex_pipeline_tests.queries.recorded import (
    EVER,
    FEED,
    FRIDAY,
    MONDAY,
    OPENING,
    THURSDAY,
    publish,
    recorded,
    stored,
)
from gex_pipeline_tests.test_database_held import held

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
SINCE = f"feed=SPX:gex_zero&start={OPENING[THURSDAY]}"
ALL = tuple(PUBLISHED_SNAPSHOTS_SCHEMA.names)
JSON_COLUMNS = ("max_priors", "max_change", "extra")
NO_VANNA = tuple(name for name in STRIKES_SCHEMA.names if name != "vanna")


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = recorded(tmp_path_factory.mktemp("reading"))
    with running_gateway(settings.data_dir) as gateway:
        yield gateway


def in_database(gateway: GatewayProcess, span: Span = EVER, table: str = "gex_snapshots") -> list[dict[str, Any]]:
    columns = ALL if table == "gex_snapshots" else tuple(STRIKES_SCHEMA.names)
    return stored(load_settings(data_dir=gateway.data_dir), columns, span, table)


def ask(gateway: GatewayProcess, query: str, accept: str | None = None) -> requests.Response:
    answer = get(gateway, f"/gex{query}", {} if accept is None else {"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def test_json_has_the_rows_by_column_name_and_json_in_them_as_json(reading: GatewayProcess) -> None:
    answer = ask(reading, f"?{SINCE}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-gex-source"] == "database, parquet"
    expected = in_database(reading)
    for row in expected:
        row.update({name: row[name] and json.loads(row[name]) for name in JSON_COLUMNS})
    assert answer.json() == expected
    assert answer.json()[3]["max_priors"] == [[7140, 1.5], [7135, None]]
    assert answer.json()[3]["extra"] == {"vix": 17.1, "note": 'a "quote", a ü and a\nline'}


def test_arrow_and_parquet_have_the_rows_as_they_are_stored(reading: GatewayProcess) -> None:
    expected = in_database(reading)
    arrow = ask(reading, f"?{SINCE}", ARROW)
    assert arrow.headers["content-type"] == ARROW
    with pa.ipc.open_stream(arrow.content) as stream:
        rows = stream.read_all()
    assert rows.schema.equals(PUBLISHED_SNAPSHOTS_SCHEMA)
    assert rows.to_pylist() == expected
    assert pl.read_ipc_stream(io.BytesIO(arrow.content)).to_dicts() == expected
    parquet = ask(reading, f"?{SINCE}", PARQUET)
    assert parquet.headers["content-type"] == PARQUET
    assert pq.read_table(io.BytesIO(parquet.content)).to_pylist() == expected
    assert pl.read_parquet(io.BytesIO(parquet.content)).to_dicts() == expected


@pytest.mark.parametrize("accept", ["application/json", ARROW, PARQUET])
def test_no_rows_are_an_empty_table_with_its_columns(reading: GatewayProcess, accept: str) -> None:
    answer = ask(reading, "?feed=SPX:gex_zero&start=2024-01-01&end=2024-02-01&columns=spot_price,source", accept)
    if accept == "application/json":
        assert answer.json() == []
    else:
        read = pl.read_parquet if accept == PARQUET else pl.read_ipc_stream
        rows = read(io.BytesIO(answer.content))
        assert (rows.height, rows.columns) == (0, ["timestamp", "spot_price", "source"])


@pytest.mark.parametrize("accept", ["application/json", ARROW, PARQUET])
def test_only_the_columns_that_were_asked_for_come_and_the_time(reading: GatewayProcess, accept: str) -> None:
    query = f"?ticker=spx&endpoint=zero&start={OPENING[THURSDAY]}&columns=extra,%20endpoint,spot_price"
    answer = ask(reading, query, accept)
    names = ["timestamp", "endpoint", "spot_price", "extra"]
    if accept == "application/json":
        assert [list(row) for row in answer.json()] == [names] * 40
    else:
        read = pl.read_parquet if accept == PARQUET else pl.read_ipc_stream
        wanted = [{name: row[name] for name in names} for row in in_database(reading)]
        assert read(io.BytesIO(answer.content)).to_dicts() == wanted


def test_pages_lead_to_each_other(reading: GatewayProcess) -> None:
    start: str | None = str(OPENING[THURSDAY])
    times, pages = [], 0
    while start:
        page = ask(reading, f"?feed=SPX:gex_zero&start={start}&limit=15&columns=timestamp")
        times += [row["timestamp"] for row in page.json()]
        start, pages = page.headers.get("x-next-start"), pages + 1
    assert (times, pages) == ([row["timestamp"] for row in in_database(reading)], 3)


@pytest.mark.parametrize(
    "start",
    ["1763130602", "1763130602000", "2025-11-14T14:30:02Z", "2025-11-14T09:30:02-05:00", "2025-11-14T14:30:02"],
)
def test_a_time_is_seconds_milliseconds_or_iso(reading: GatewayProcess, start: str) -> None:
    rows = ask(reading, f"?feed=SPX:gex_zero&start={start}&end=1763130605").json()
    assert [row["timestamp"] for row in rows] == [1763130602000, 1763130603000, 1763130604000]


@pytest.mark.parametrize(
    ("query", "field", "value", "expected"),
    [
        ("", "feed", "nothing", "feed=NQ_NDX:gex_zero"),
        ("?endpoint=gex_zero", "feed", "nothing", "ticker="),
        ("?feed=SPX", "feed", "SPX", "TICKER:endpoint"),
        ("?feed=SPX:gex_zero&ticker=SPX", "feed", "feed and ticker or endpoint", "feed="),
        ("?ticker=../etc", "ticker", "../etc", "a ticker"),
        ("?feed=SPX:gex_zero&start=yesterday", "start", "yesterday", "ISO 8601"),
        ("?feed=SPX:gex_zero&end=5", "end", "5", "between 2000 and 2100"),
        ("?feed=SPX:gex_zero&start=2025-11-14&end=2025-11-14", "end", "2025-11-14", "after the start"),
        ("?feed=SPX:gex_zero&limit=0", "limit", "0", "greater than or equal to 1"),
        ("?feed=SPX:gex_zero&limit=100001", "limit", "100001", "less than or equal to 100000"),
        ("?feed=SPX:gex_zero&limit=many", "limit", "many", "integer"),
        ("?feed=SPX:gex_zero&columns=spot,timestamp", "columns", "spot", "spot_price, zero_gamma"),
        ("/strikes", "feed", "nothing", "feed="),
        ("/strikes?feed=SPX:gex_zero&at=then", "at", "then", "ISO 8601"),
        ("/strikes?feed=SPX:gex_zero&timestamp=then", "timestamp", "then", "ISO 8601"),
        ("/strikes?feed=SPX:gex_zero&at=2025-11-14&timestamp=2025-11-14", "at", "2025-11-14", "not both"),
    ],
)
def test_what_is_wrong_is_told(reading: GatewayProcess, query: str, field: str, value: str, expected: str) -> None:
    answer = get(reading, f"/gex{query}")
    assert answer.status_code == 400
    [problem] = problems(answer)
    assert (problem["field"], problem["value"]) == (field, value)
    assert expected in problem["expected"]


@pytest.mark.parametrize("path", ["/gex", "/gex/strikes"])
def test_an_unknown_feed_is_told_which_are_known(reading: GatewayProcess, path: str) -> None:
    answer = get(reading, f"{path}?feed=SPX:gex_full")
    assert answer.status_code == 404
    [problem] = problems(answer)
    assert problem["value"] == "SPX:gex_full"
    assert "SPX:gex_zero" in problem["expected"]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("*/*", "application/json"),
        ("application/*;q=0.5", "application/json"),
        (f"{PARQUET};q=0.4, {ARROW};q=0.8", ARROW),
        (f"text/html, {PARQUET}", PARQUET),
        ("application/json;q=0, */*", ARROW),
        (f"{ARROW};q=high, application/json;q=0.1", "application/json"),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
def test_the_accept_header_decides(reading: GatewayProcess, accept: str, given: str | None) -> None:
    answer = get(reading, "/gex?feed=SPX:gex_zero&limit=1", {"Accept": accept})
    if given is None:
        assert answer.status_code == 406
        assert [problem["field"] for problem in problems(answer)] == ["accept"]
    else:
        assert (answer.status_code, answer.headers["content-type"]) == (200, given)


def test_a_large_answer_in_pieces_is_one_array(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_gateway(tmp_path_factory.mktemp("large") / "data") as gateway:
        assert post(gateway, "/gex", SNAPSHOT).ok
        gateway.wait_until_loaded()
        with lease(gateway.data_dir / "gex_data.db", purpose="fill", timeout_seconds=10) as connection:
            connection.execute(
                "INSERT INTO gex_snapshots BY NAME SELECT 1763130600000 + n AS timestamp, 'SPX' AS ticker, "
                "if(n = 7, 'nan'::DOUBLE, n) AS spot_price, if(n = 8, '{oops', NULL) AS extra "
                "FROM range(1, 12000) made(n)"
            ).fetchall()
        rows = ask(gateway, "?feed=SPX:gex_zero&start=1763130600&limit=11500").json()
        assert [row["timestamp"] - 1763130600000 for row in rows] == list(range(11500))
        assert (rows[7]["spot_price"], rows[8]["extra"], rows[11499]["spot_price"]) == (None, "{oops", 11499)


def ladder(gateway: GatewayProcess, query: str) -> requests.Response:
    return ask(gateway, f"/strikes?feed=SPX:gex_zero{query}")


def at_time(gateway: GatewayProcess, second: int) -> list[dict[str, Any]]:
    return in_database(gateway, Span(second * 1000, second * 1000 + 1), "gex_strikes")


def test_the_ladder_of_a_snapshot_is_that_of_the_database(reading: GatewayProcess) -> None:
    for second in (OPENING[THURSDAY] + 4, OPENING[MONDAY] + 4):
        expected = at_time(reading, second)
        assert len(expected) == 3
        for query in (f"&timestamp={second}", f"&at={second}.7"):
            answer = ladder(reading, query)
            assert answer.json() == expected
            assert answer.headers["x-gex-timestamp"] == str(second * 1000)
    weekend = ladder(reading, "&at=2025-11-16")
    assert weekend.json() == at_time(reading, OPENING[FRIDAY] + 9)
    for accept, read in ((ARROW, pl.read_ipc_stream), (PARQUET, pl.read_parquet)):
        rows = ask(reading, f"/strikes?feed=SPX:gex_zero&timestamp={OPENING[MONDAY]}", accept)
        assert read(io.BytesIO(rows.content)).to_dicts() == at_time(reading, OPENING[MONDAY])


def test_a_published_day_s_ladder_comes_from_parquet_once_it_was_compared(reading: GatewayProcess) -> None:
    query = f"&timestamp={OPENING[FRIDAY] + 6}"
    first = ladder(reading, query).json()
    with held(reading.data_dir / "gex_data.db"):
        again = ladder(reading, query)
    assert again.json() == first
    assert again.headers["x-gex-source"] == "database, parquet"


def test_the_newest_ladder_is_there_before_it_is_loaded(reading: GatewayProcess) -> None:
    now = int(time.time())
    sent = {"strike": 5, "gamma": 1, "vanna": 0.5, "history": [1, None]}
    with held(reading.data_dir / "gex_data.db"):
        assert post(reading, "/gex", SNAPSHOT | {"ticker": "NEW", "timestamp": now, "strikes": [sent, [4, 2, 3]]}).ok
        answer = ask(reading, "/strikes?ticker=NEW")
    common = {"timestamp": now * 1000, "ticker": "NEW", "endpoint": "gex_zero"}
    assert answer.json() == [
        common | {"strike": 4.0, "gamma": 2.0, "oi_gamma": 3.0, "vanna": None, "priors": None},
        common | {"strike": 5.0, "gamma": 1.0, "oi_gamma": None, "vanna": 0.5, "priors": [1.0, None]},
    ]
    assert answer.headers["x-gex-source"] == "memory"


def test_a_vanna_is_not_lost_on_a_published_day(reading: GatewayProcess) -> None:
    settings = load_settings(data_dir=reading.data_dir)
    with lease(settings.database_path, purpose="change", timeout_seconds=10) as connection:
        connection.execute(
            "INSERT INTO gex_snapshots BY NAME SELECT 1763044200000 AS timestamp, 'VAN' AS ticker;"
            "INSERT INTO gex_strikes BY NAME "
            "SELECT 1763044200000 AS timestamp, 'VAN' AS ticker, 5 AS strike, 0.5 AS vanna"
        )
    list(export_tables(settings, Partition(Feed("VAN", "gex_zero"), THURSDAY)))
    vannas = 0
    while vannas < 2:  # while the database is busy, which the answer says, Parquet has to do
        answer = ask(reading, "/strikes?ticker=VAN&timestamp=1763044200")
        if "database" in answer.headers["X-Gex-Source"]:
            assert [strike["vanna"] for strike in answer.json()] == [0.5]
            vannas += 1


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("&timestamp=1763130602.5", "timestamp", "the last one before it is 1763130602000"),
        ("&timestamp=2024-01-01", "timestamp", "there is none before it"),
        ("&at=2024-01-01", "at", "there is none before it"),
    ],
)
def test_where_there_is_no_snapshot_it_is_told(
    reading: GatewayProcess, query: str, field: str, expected: str
) -> None:
    answer = get(reading, f"/gex/strikes?feed=SPX:gex_zero{query}")
    assert answer.status_code == 404
    [problem] = problems(answer)
    assert problem["field"] == field
    assert expected in problem["expected"]


def test_while_the_database_is_held_the_answer_says_what_it_lacks(reading: GatewayProcess) -> None:
    published = f"?feed=SPX:gex_zero&start={OPENING[THURSDAY]}&end={OPENING[THURSDAY] + 60}"
    with held(reading.data_dir / "gex_data.db"):
        answer = ask(reading, published)
        assert (len(answer.json()), "x-gex-partial" in answer.headers) == (10, False)
        partial = ask(reading, f"?{SINCE}&end=2025-11-18")
        assert partial.headers["x-gex-partial"] == "database busy"
        assert len(partial.json()) == 20
        refused = get(reading, "/gex?feed=SPX:gex_full")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert problems(refused)
    assert len(ask(reading, f"?{SINCE}&end=2025-11-18").json()) == 30


def test_reading_needs_the_key_and_pages_may_see_the_headers(guarded: GatewayProcess) -> None:
    assert post(guarded, "/gex", SNAPSHOT | {"ticker": "KEYED"}, x_api_key=KEY).ok
    for path in ("/gex?ticker=KEYED", "/gex/strikes?ticker=KEYED"):
        assert get(guarded, path).status_code == 401
        answer = get(guarded, path, {"X-API-Key": KEY, "Origin": "https://gexbot.com"})
        assert answer.status_code == 200
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert {"x-gex-source", "x-gex-partial", "x-next-start"} <= set(exposed.split(", "))


def test_publishing_a_day_changes_no_answer(reading: GatewayProcess) -> None:
    before = ask(reading, f"?{SINCE}").json()
    publish(load_settings(data_dir=reading.data_dir), MONDAY)
    assert ask(reading, f"?{SINCE}").json() == before
    monday = day_span(MONDAY)
    answer = ask(reading, f"?feed={FEED.key}&start={monday.start_ms}&end={monday.end_ms}")
    assert (len(answer.json()), answer.headers["x-gex-source"]) == (10, "database, parquet")


def test_the_examples_of_the_page_run(reading: GatewayProcess) -> None:
    page = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
    [example] = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example.replace("localhost:8877", f"127.0.0.1:{reading.port}").replace("NQ_NDX", "SPX"), names)  # noqa: S102
    assert names["frame"]["timestamp"].to_list() == [(OPENING[FRIDAY] + second) * 1000 for second in range(10)]
    assert names["minutes"].fetchall() == [(OPENING[FRIDAY] * 1000, 6734.5)]
    for url in re.findall(r"^curl 'localhost:8877(.+?)'", page, re.MULTILINE):
        assert get(reading, url.replace("NQ_NDX", "SPX")).status_code == 200
