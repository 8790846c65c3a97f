"""Feeds: tickers, endpoints and days as clients, URLs and file names write them."""

import datetime as dt

import pytest

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import (
    Feed,
    HistoryName,
    normalise_endpoint,
    normalise_ticker,
    read_date,
    read_history_name,
    request_id,
)

DAY = dt.date(2025, 11, 14)


def refused_field(error: RecordError) -> str:
    (problem,) = error.problems
    return problem.field


@pytest.mark.parametrize(
    ("key", "feed"),
    [
        ("NQ_NDX:gex_zero", Feed("NQ_NDX", "gex_zero")),
        (" spx : FULL ", Feed("SPX", "gex_full")),
        ("BRK.B:one", Feed("BRK.B", "gex_one")),
    ],
)
def test_a_feed_is_read_from_its_key(key: str, feed: Feed) -> None:
    assert Feed.parse(key) == feed
    assert Feed.parse(feed.key) == feed


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("", "feed"),
        ("SPX", "feed"),
        (":", "ticker"),
        (":gex_zero", "ticker"),
        ("SPX:", "endpoint"),
        ("SPX:gex_zero:x", "endpoint"),
        ("../x:gex_zero", "ticker"),
        ("SPX:../x", "endpoint"),
    ],
)
def test_what_is_no_feed_is_refused_by_the_half_that_is_wrong(key: str, field: str) -> None:
    with pytest.raises(RecordError) as refused:
        Feed.parse(key)
    assert refused_field(refused.value) == field


def test_feeds_are_ordered_by_ticker_and_then_endpoint() -> None:
    feeds = [Feed("SPX", "gex_one"), Feed("NDX", "gex_zero"), Feed("SPX", "gex_full")]
    assert [feed.key for feed in sorted(feeds)] == ["NDX:gex_zero", "SPX:gex_full", "SPX:gex_one"]


@pytest.mark.parametrize("ticker", ["SPX", "NQ_NDX", "ES_SPX", "BRK.B", "BRK-B", "0DTE", "X^Y", "A" * 32])
def test_a_ticker_is_taken_in_any_case_with_blanks_around(ticker: str) -> None:
    assert normalise_ticker(ticker) == normalise_ticker(f"\t {ticker.lower()} ") == ticker


@pytest.mark.parametrize(
    "sent",
    [
        "", " ", ".", "..", "../x", "a/b", "a\\b", "A..B", "~", "A B", "A\nB", "A'--", 'A"', "A;B", "A:B", "A|B",
        "A*", "A?", "A%2E", "A\x00", "-A", "_A", ".A", "é", "A" * 33, 5, 1.5, True, None, b"SPX", ["SPX"], {},
    ],
)  # fmt: skip
def test_what_is_unsafe_in_a_path_or_a_statement_is_no_ticker(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        normalise_ticker(sent)
    assert refused_field(refused.value) == "ticker"


@pytest.mark.parametrize(
    ("sent", "endpoint"),
    [
        (None, "gex_zero"),
        ("zero", "gex_zero"),
        ("one", "gex_one"),
        ("full", "gex_full"),
        ("gex_full", "gex_full"),
        (" GEX_ONE\n", "gex_one"),
        ("state_gamma_zero", "state_gamma_zero"),
        ("x" * 32, "x" * 32),
    ],
)
def test_an_endpoint_is_normalised_and_none_is_the_default(sent: object, endpoint: str) -> None:
    assert normalise_endpoint(sent) == endpoint


@pytest.mark.parametrize(
    "sent", ["", " ", "..", "a/b", "a.b", "a-b", "a b", "a'--", "_a", "é", "x" * 33, 5, True, b"zero", ["zero"]]
)
def test_what_is_no_plain_name_is_no_endpoint(sent: object) -> None:
    with pytest.raises(RecordError) as refused:
        normalise_endpoint(sent)
    assert refused_field(refused.value) == "endpoint"


@pytest.mark.parametrize(
    ("name", "ticker", "endpoint", "date"),
    [
        (
            "https://hist.gex.bot/gb-nqndx/2025-10-21_NQ_NDX_classic_gex_zero.json",
            "NQ_NDX", "gex_zero", dt.date(2025, 10, 21),
        ),
        ("https://hist.gex.bot/2025-11-14_SPX_classic.json", "SPX", None, DAY),
        (
            "https://nfagexbotresearch.blob.core.windows.net/a/b/2026-06-16_NQ_NDX_classic_gex_zero.json.gz?sv=1&sig=x%2F",
            "NQ_NDX", "gex_zero", dt.date(2026, 6, 16),
        ),
        ("/data/source/gexbot/NQ_NDX/gex_zero/20251114_NQ_NDX_gex_zero_history.json.gz", "NQ_NDX", "gex_zero", DAY),
        ("20251114_SPX_gex_full_history.json", "SPX", "gex_full", DAY),
        ("2025-11-14_spx_classic_one.jsonl", "SPX", "gex_one", DAY),
        ("2025-11-14_ES_SPX_state_gex_full.json", "ES_SPX", "gex_full", DAY),
        ("2025-11-14_SPX.json", "SPX", None, DAY),
        ("2025-11-14_BRK.B_classic_full.json", "BRK.B", "gex_full", DAY),
        ("2025-11-14%5FSPX%5Fclassic.json", "SPX", None, DAY),
        ("https://hist.gex.bot/2025-11-14_SPX_classic.json?date=2020-01-01#2021-01-01", "SPX", None, DAY),
        ("https://hist.gex.bot/2020-01-01_NDX_classic/2025-11-14_SPX_classic.json", "SPX", None, DAY),
    ],
)  # fmt: skip
def test_a_history_files_name_says_ticker_endpoint_and_day(
    name: str, ticker: str, endpoint: str | None, date: dt.date
) -> None:
    assert read_history_name(name) == HistoryName(ticker, endpoint, date)


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("download.json", None),
        ("", None),
        ("https://hist.gex.bot/", None),
        ("https://hist.gex.bot/2025-11-14/SPX.json", None),
        ("SPX_2025-11-14.json", DAY),
        ("export-20251114-final.json", DAY),
        ("2025-11-14_..%2F..%2Fetc_classic.json", DAY),
        ("2025-11-14 SPX.json", DAY),
    ],
)
def test_any_other_name_says_at_most_a_day(name: str, date: dt.date | None) -> None:
    assert read_history_name(name) == HistoryName(None, None, date)


def test_a_name_with_an_impossible_day_still_says_its_ticker() -> None:
    assert read_history_name("2025-02-30_SPX_classic.json") == HistoryName("SPX", None, None)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2025-11-14", DAY),
        ("20251114", DAY),
        ("on 2025-11-14T09:30:00Z", DAY),
        ("2025-02-30 then 2025-11-14", DAY),
        ("20251114_20250101", DAY),
        ("2024-02-29", dt.date(2024, 2, 29)),
        ("2025-02-29", None),
        ("2025-00-10", None),
        ("120251114", None),
        ("202511145", None),
        ("2025/11/14", None),
        ("", None),
    ],
)
def test_the_first_valid_day_of_a_text_is_found(text: str, date: dt.date | None) -> None:
    assert read_date(text) == date


def test_a_requests_id_is_the_same_in_every_process_and_release() -> None:
    assert request_id(Feed("NQ_NDX", "gex_zero"), DAY) == 1_449_714_339_404_776


def test_a_requests_id_is_another_for_another_ticker_endpoint_or_day_and_fits_a_json_number() -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=day) for day in range(500)]
    ids = {
        request_id(Feed(ticker, endpoint), day)
        for ticker in ("SPX", "NDX", "NQ_NDX")
        for endpoint in ("gex_zero", "gex_one")
        for day in days
    }
    assert len(ids) == 3 * 2 * 500
    assert all(0 <= found < 2**53 for found in ids)
    assert max(ids) > 2**52
