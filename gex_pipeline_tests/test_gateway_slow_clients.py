"""Clients that send or take too slowly, too much, or over too many connections, with real sockets."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from gex_pipeline_tests.gateway_requests import SNAPSHOT, get, journal_bytes, post
from gex_pipeline_tests.processes import GatewayProcess, running_gateway, wait_until
from webhook_gateway.connections import MAX_HEAD_BYTES, MAX_REQUEST_BYTES, MAX_WAITING_REQUESTS, SPARE_FILES

PATIENCE = 20.0
BODY = json.dumps(SNAPSHOT).encode()
POST = b"POST /gex HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
ASK = b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n"
WHOLE = POST + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that gives a request one second."""
    with running_gateway(tmp_path_factory.mktemp("impatient") / "data", GEX_TIMEOUT_REQUEST="1") as gateway:
        yield gateway


def connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)


def trickle(connection: socket.socket, start: bytes, drop: bytes) -> bytes:
    """Send a start, then drop after drop until the other end closes; return what it said."""
    connection.sendall(start)
    connection.settimeout(0.05)
    deadline = time.monotonic() + PATIENCE
    received = b""
    while time.monotonic() < deadline:
        try:
            connection.sendall(drop)
            if not (chunk := connection.recv(1 << 16)):
                return received
            received += chunk
        except TimeoutError:
            continue
        except ConnectionError:
            return received
    raise AssertionError(f"still connected after {PATIENCE:g} s")


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


@pytest.mark.parametrize(
    ("start", "drop", "answered"),
    [
        (b"", b"", []),
        (b"\r\n", b"\r\n", []),
        (b"POST /gex HT", b"", [408]),
        (b"POST /", b"x", [408]),
        (POST, b"", [408]),
        (POST, b"X-Drop: 1\r\n", [408]),
        (POST + b"Content-Length: 100\r\n\r\n{", b"", [408]),
        (POST + b"Content-Length: 100000\r\n\r\n{", b" ", [408]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", [408]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1", b";x", [408]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Drop: 1\r\n", [408]),
        (POST + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", b"", [100, 408]),
        (POST.replace(b"json", b"pdf") + b"Content-Length: 100\r\n\r\n", b"", [415]),
        (WHOLE, b"\r\n", [202]),
        (WHOLE + POST, b"X-Drop: 1\r\n", [202, 408]),
    ],
)
def test_a_request_that_does_not_end_is_cut_off(
    impatient: GatewayProcess, start: bytes, drop: bytes, answered: list[int]
) -> None:
    before = journal_bytes(impatient)
    with connect(impatient) as connection:
        received = trickle(connection, start, drop)
    assert statuses(received) == answered
    assert (journal_bytes(impatient) > before) == (202 in answered)
    if 408 in answered:
        head, _, body = received.rpartition(b"HTTP/1.1 408 Request Timeout\r\n")[2].partition(b"\r\n\r\n")
        assert b"connection: close" in head
        [problem] = json.loads(body)["detail"]
        assert problem == {
            "field": "",
            "value": "a request that does not end",
            "expected": "all of it within 1 seconds",
        }


def connections_of(gateway: GatewayProcess) -> int:
    """Count the established connections of a gateway."""
    table = Path(f"/proc/{gateway.process_id}/net/tcp").read_text().splitlines()[1:]
    ends = [(local.rpartition(":")[2], state) for _, local, _, state, *_ in map(str.split, table)]
    return ends.count((f"{gateway.port:04X}", "01"))


def test_a_crowd_of_clients_that_never_end_holds_up_nobody_and_leaves_nothing(impatient: GatewayProcess) -> None:
    wait_until(lambda: connections_of(impatient) == 0, PATIENCE)
    with ExitStack() as crowd:
        for _ in range(300):
            crowd.enter_context(connect(impatient)).sendall(POST + b"Content-Length: 100000\r\n\r\n{")
        assert connections_of(impatient) > 0
        assert post(impatient, "/gex", SNAPSHOT).status_code == 202
        wait_until(lambda: connections_of(impatient) == 0, PATIENCE)


def test_an_idle_connection_outlives_the_time_for_a_request(impatient: GatewayProcess) -> None:
    with connect(impatient) as connection:
        for _ in range(2):
            connection.sendall(WHOLE)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(1 << 16)
            assert statuses(received) == [202]
            connection.settimeout(1.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(PATIENCE)


@pytest.mark.parametrize(
    "start",
    [
        POST + b"X-Long: ",
        POST + b"X-Long: 1\r\n" * 8000,
        b"GET /health?",
        b"GET /health HTTP/1.1\r\nHost: gateway\r\nCookie: ",
    ],
)
def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(impatient: GatewayProcess, start: bytes) -> None:
    with connect(impatient) as connection:
        received = trickle(connection, start, b"x" * MAX_HEAD_BYTES)
    assert statuses(received) in ([431], [])  # what was sent after the refusal may have reset the connection first
    assert get(impatient, "/health").ok


def test_requests_that_come_together_are_answered_one_by_one(impatient: GatewayProcess) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: gateway\r\nX-Long: %b\r\n\r\n" % (b"x" * 300)
    count = MAX_WAITING_REQUESTS // 2
    together = request * count
    assert len(together) > 2 * MAX_HEAD_BYTES
    with connect(impatient) as connection:
        connection.sendall(together[:-10])
        connection.sendall(together[-10:])
        received = b""
        while len(statuses(received)) < count or not received.endswith(b"}"):
            received += (chunk := connection.recv(1 << 20))
            assert chunk
    assert set(statuses(received)) == {200}


def send_until_cut_off(connection: socket.socket, piece: bytes, most_bytes: int) -> None:
    for _ in range(most_bytes // len(piece)):
        connection.sendall(piece)


def test_a_body_that_goes_on_after_it_was_refused_is_cut_off(impatient: GatewayProcess) -> None:
    with connect(impatient) as connection:
        connection.sendall(POST + b"Content-Length: 100000000\r\n\r\n")
        assert statuses(connection.recv(1 << 16)) == [413]
        with pytest.raises(ConnectionError):
            send_until_cut_off(connection, b"x" * (1 << 20), 4 * MAX_REQUEST_BYTES)


def test_more_requests_than_are_answered_are_cut_off(gateway: GatewayProcess) -> None:
    with connect(gateway) as connection, pytest.raises(ConnectionError):
        send_until_cut_off(connection, ASK * 100, 1 << 24)


def test_a_client_that_does_not_take_its_answers_is_cut_off(impatient: GatewayProcess) -> None:
    with connect(impatient) as connection:
        connection.sendall(ASK * (MAX_WAITING_REQUESTS - 1))
        wait_until(lambda: connections_of(impatient) == 1, PATIENCE)
        wait_until(lambda: connections_of(impatient) == 0, PATIENCE)
    assert get(impatient, "/health").ok


def test_more_connections_than_files_leave_the_journal_its_own(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    gateway._command = ["sh", "-c", 'ulimit -n 150 && exec "$@"', "sh", *gateway._command]
    gateway.start()
    try:
        with requests.Session() as session, ExitStack() as crowd:
            assert session.get(f"{gateway.url}/health", timeout=30).ok
            for _ in range(150 - SPARE_FILES):
                crowd.enter_context(connect(gateway))
            with connect(gateway) as one_too_many:
                received = trickle(one_too_many, b"", b"")
            assert statuses(received) == [503]
            assert b"retry-after: 5" in received
            for _ in range(150):
                crowd.enter_context(connect(gateway))
            assert session.post(f"{gateway.url}/gex", data=BODY, timeout=30).status_code == 202
    finally:
        gateway.stop()
