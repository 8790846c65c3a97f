"""Bodies that are made to harm: each has a defined answer, and what is accepted reaches its table."""

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
import requests

from gex_pipeline.formats.nesting import MAX_LEVELS
from gex_pipeline_tests.gateway_requests import CAPTURES, ROUTES, SNAPSHOT, journal_bytes, post, problems
from gex_pipeline_tests.processes import GatewayProcess, running_gateway

URL = "https://hist.gex.bot/2025-11-14_SPX_classic.json"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that has no word in its log, and loads everything that it accepts, whatever it was sent."""
    with running_gateway(tmp_path_factory.mktemp("hostile") / "data") as gateway:
        yield gateway
        gateway.wait_until_loaded()
        assert not (gateway.data_dir / "quarantine").exists()
        assert "Traceback" not in gateway.log
        assert "ERROR" not in gateway.log


def snapshot(members: str | bytes) -> bytes:
    """Return a snapshot with more members."""
    more = members.encode() if isinstance(members, str) else members
    return b'{"timestamp":1763130602,"ticker":"SPX","spot":1.5,' + more + b"}"


def is_refused(gateway: GatewayProcess, path: str, body: bytes | str) -> bool:
    """Send a body; a refusal keeps nothing and says why in its shape."""
    before = journal_bytes(gateway)
    answer = post(gateway, path, body)
    if answer.ok:
        return False
    assert answer.status_code == 400
    assert len(answer.content) < 1000
    assert problems(answer)
    assert journal_bytes(gateway) == before
    return True


NESTED = [
    ("/gex", '{"timestamp":1763130602,"ticker":"SPX","spot":1,"note":%s}', 1),
    ("/gex", '{"timestamp":1763130602,"ticker":"SPX","spot":1,"strikes":[],"max_change":{"a":%s}}', 2),
    ("/gex", '{"timestamp":1763130602,"ticker":"SPX","strikes":[{"strike":1,"note":%s}]}', 3),
    ("/gex", '{"timestamp":1763130602,"ticker":"SPX","spot":1,"max_priors":%s}', 1),
    ("/uw", '["topic",%s]', 1),
    ("/uw", '[null,null,"topic","event",{"data":%s}]', 2),
    ("/uw", '["gex:SPX",{"timestamp":1763130602,"ticker":"SPX","spot":1,"strikes":[],"note":%s}]', 2),
    ("/gex_history_url", '{"url":"' + URL + '","metadata":%s}', 1),
]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize(("path", "frame", "around"), NESTED)
def test_nesting_has_a_limit(
    gateway: GatewayProcess, path: str, frame: str, around: int, opening: str, closing: str
) -> None:
    def nested(levels: int) -> str:
        return frame % (opening * levels + "1" + closing * levels)

    most = MAX_LEVELS - around
    assert not is_refused(gateway, path, nested(most))
    for levels in (most + 1, 900, 1000, 100_000):
        assert is_refused(gateway, path, nested(levels))
        assert is_refused(gateway, path, nested(levels).replace(closing, ""))


def test_brackets_in_text_are_no_levels(gateway: GatewayProcess) -> None:
    text = json.dumps("[{" * 500 + '\\"' + "[" * 500)
    assert not is_refused(gateway, "/gex", snapshot(f'"note":{text}'))
    assert not is_refused(gateway, "/uw", f'["topic",{text}]')
    hidden = json.dumps("]" * 500 + '\\"')
    assert is_refused(gateway, "/uw", "[" * 60 + f"{hidden}," + "[" * 60 + "]" * 120)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "9" * 400, "9" * 5000, f'"{"9" * 400}"'])
@pytest.mark.parametrize(
    "members",
    [
        '"zero_gamma":%s', '"min_dte":%s', '"strikes":[[%s,1]]', '"strikes":[[6890,1,2,[1,2,3,4,%s]]]',
        '"strikes":[{"strike":1,"vanna":%s}]', '"timestamp":%s', '"ticker":%s', '"endpoint":%s',
    ],
)  # fmt: skip
def test_a_number_that_no_column_can_hold_is_refused(gateway: GatewayProcess, members: str, number: str) -> None:
    assert is_refused(gateway, "/gex", snapshot(members % number))


@pytest.mark.parametrize("number", ["1e400", "9" * 400, "9" * 5000])
def test_a_number_of_any_size_is_kept_as_it_was_sent_where_no_column_holds_it(
    gateway: GatewayProcess, number: str
) -> None:
    assert not is_refused(gateway, "/gex", snapshot(f'"ticker":"D{len(number)}","note":{number}'))
    assert not is_refused(gateway, "/uw", f'["digits:{len(number)}",{number}]')
    gateway.wait_until_loaded()
    extras = gateway.rows("SELECT ticker, extra FROM gex_snapshots")
    assert dict(extras)[f"D{len(number)}"] == f'{{"note":{number}}}'
    payloads = gateway.rows("SELECT topic, payload FROM universal_webhooks")
    assert dict(payloads)[f"digits:{len(number)}"] == number


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, b"\xef\xbb\xbf" + json.dumps(body).encode()) for path, body, _ in CAPTURES),
        *((path, json.dumps(body).encode("utf-16")) for path, body, _ in CAPTURES),
        *((path, json.dumps(body).encode() + b"\0") for path, body, _ in CAPTURES),
        ("/gex", snapshot(b'"note":"\xff"')),
        ("/gex", snapshot(b'"\xff":1')),
        ("/gex", snapshot(b'"note":"\xc0\xaf"')),
        ("/gex", snapshot(b'"note":"\xed\xa0\x80"')),
        ("/gex", snapshot(b'"note":"\x01"')),
        ("/gex", snapshot(rb'"note":"\ud800"')),
        ("/gex", snapshot(rb'"note":"\udc00\ud800"')),
        ("/gex", snapshot(rb'"\ud800":1')),
        ("/uw", rb'["\ud800",{}]'),
        ("/uw", rb'["topic",{"note":"\ud800"}]'),
        ("/uw", b'["topic",{"\xff":1}]'),
        ("/gex_history_url", b'{"url":"' + URL.encode() + rb'","metadata":{"a":"\ud800"}}'),
        ("/gex_history_url", b'{"url":"' + URL.encode() + b'","metadata":{"a":"\xff"}}'),
    ],
)
def test_text_that_is_not_utf_8_is_refused(gateway: GatewayProcess, path: str, body: bytes) -> None:
    assert is_refused(gateway, path, body)


def test_of_a_key_that_comes_twice_the_last_value_counts(gateway: GatewayProcess) -> None:
    assert is_refused(gateway, "/gex", snapshot('"spot":"high"'))
    twice = '"spot":"high","spot":2,"ticker":"TWICE","timestamp":1763130605'
    assert not is_refused(gateway, "/gex", snapshot(twice))
    assert not is_refused(gateway, "/uw", '{"topic":"first","topic":"twice","payload":1,"payload":{"a":1,"a":2}}')
    answer = post(gateway, "/gex_history_url", f'{{"url":"file:///etc/passwd","url":"{URL}"}}')
    assert (answer.status_code, answer.json()["ticker"]) == (202, "SPX")
    assert is_refused(gateway, "/gex_history_url", f'{{"url":"{URL}","url":"file:///etc/passwd"}}')
    gateway.wait_until_loaded()
    found = gateway.rows("SELECT timestamp, spot_price FROM gex_snapshots WHERE ticker = 'TWICE'")
    assert found == [(1763130605000, 2.0)]
    assert gateway.rows("SELECT topic, payload FROM universal_webhooks WHERE topic IN ('first', 'twice')") == [
        ("twice", '{"a":1,"a":2}')
    ]


NO_NAMES = [
    "../..", "..", ".", "/etc/passwd", "a/b", r"a\b", "a\0b", "A B", "x" * 33, "x" * 100_000, "\uff33\uff30\uff38",
    "\u017fpx", "SPX\u200b", "\u202eXPS", "-rf", "$(id)", "`id`", "%2e%2e%2f", "A..B", "~", "*", "", " ", "C:",
    "x'; DROP TABLE gex_snapshots; --", 'x" OR 1=1', "x;y", "{0}", "<b>", "SPX:gex_zero", "None/../..",
]  # fmt: skip


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_would_be_a_path_or_a_command_is_refused(gateway: GatewayProcess, name: str) -> None:
    for field in ("ticker", "endpoint", "category", "gex_type"):
        assert is_refused(gateway, "/gex", json.dumps(SNAPSHOT | {field: name}))
    day = {"url": "https://hist.gex.bot/day", "date": "2025-11-14"}
    assert is_refused(gateway, "/gex_history_url", json.dumps(day | {"ticker": name}))


@pytest.mark.parametrize("name", ["con", "NUL", "SELECT", "null", "BRK.B", "NaN", "x" * 32, "0"])
def test_an_odd_name_is_a_name(gateway: GatewayProcess, name: str) -> None:
    assert post(gateway, "/gex", SNAPSHOT | {"ticker": name}).json() == {"status": "ok", "ticker": name.upper()}


def test_a_topic_may_be_any_text_and_is_kept_whole(gateway: GatewayProcess) -> None:
    topics = ["../../etc", "x'; DROP TABLE universal_webhooks; --", "a\0b", "\u202e\U0001f600", "t" * 100_000]
    for topic in topics:
        answer = post(gateway, "/uw", [topic, {}])
        assert (answer.status_code, answer.json()["message"]) == (200, f"stored for {topic[:80]}")
    gateway.wait_until_loaded()
    assert {topic for (topic,) in gateway.rows("SELECT topic FROM universal_webhooks")} >= set(topics)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x-unheard-of"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_compressed_body_is_refused_unread(gateway: GatewayProcess, path: str, encoding: str) -> None:
    bomb = gzip.compress(b" " * (1 << 24)) if "gzip" in encoding.lower() else zlib.compress(b" " * (1 << 24))
    before = journal_bytes(gateway)
    answer = post(gateway, path, bomb, content_encoding=encoding)
    assert answer.status_code == 415
    assert problems(answer) == [
        {"field": "content-encoding", "value": encoding.lower(), "expected": "a body that is not compressed"}
    ]
    assert journal_bytes(gateway) == before


def test_a_body_may_be_said_not_to_be_compressed(gateway: GatewayProcess) -> None:
    for path, body, status in CAPTURES:
        assert post(gateway, path, body, content_encoding="identity").status_code == status


@pytest.mark.parametrize(
    "length", ["9" * 5000, "-1", "1e3", "0x10", "18446744073709551616", str(len(json.dumps(SNAPSHOT)) + 8 * 1024**2)]
)
def test_a_length_that_is_none_or_too_large_is_refused(gateway: GatewayProcess, length: str) -> None:
    asked = requests.Request("POST", f"{gateway.url}/gex", data=json.dumps(SNAPSHOT)).prepare()
    asked.headers["Content-Length"] = length
    with requests.Session() as session:
        assert session.send(asked, timeout=30).status_code in {400, 413}


def test_a_length_with_thousands_of_zeros_before_it_is_a_length(gateway: GatewayProcess) -> None:
    asked = requests.Request("POST", f"{gateway.url}/gex", data=json.dumps(SNAPSHOT)).prepare()
    asked.headers["Content-Length"] = "0" * 5000 + asked.headers["Content-Length"]
    with requests.Session() as session:
        assert session.send(asked, timeout=30).status_code == 202
