"""A GexBot stand-in: its live and history APIs and the host of its signed files, over real HTTP on loopback.

As a program: `python -m gex_pipeline.demo.gexbot_standin --directory DIR --port 0` prints its base URL on one line
and serves until SIGTERM or SIGINT.
"""

import argparse
import base64
import datetime as dt
import json
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from gex_pipeline.demo.gexbot_answers import Behaviour, LiveAnswer, Plan, RecordedRequest
from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import normalise_ticker

_HISTORY_PATH = re.compile(
    r"/v2/hist/(?P<ticker>[^/]+)/(?P<package>[a-z]+)/(?P<category>[a-z0-9_]+)/(?P<date>\d{4}-\d{2}-\d{2})"
)
_LIVE_PATH = re.compile(r"/v2/(?P<ticker>[^/]+)/classic/(?P<category>[a-z0-9_]+)")
_FILES_PATH = "/files/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE_BYTES = 64 * 1024
# GexBot says the same to those who may not have a file and to those who ask too often.
_FORBIDDEN = "Forbidden: not entitled to this data"
# A request may take a little longer than the one before it.
_LIVE_INTERVAL_SECONDS = 0.95


class GexBotStandIn:
    """Serves a directory of history files as GexBot would, from entering the `with` block to leaving it.

    A history file is named `{YYYY-MM-DD}_{TICKER}_{package}_{category}.json`, or the same with `.json.gz`.

    Attributes:
        requests: every answered request, in the order of their answers.
        not_entitled: tickers (upper case) whose history is answered 403; may be changed at any time.
        live: by feed, such as `SPX:gex_zero`, the live API's answers in turn; the last one is given again and
            again, as GexBot does after hours. May be changed at any time; other feeds are answered 404.
    """

    def __init__(
        self, directory: Path, *, api_key: str = "demo-key", port: int = 0, rate_limit: bool = False
    ) -> None:
        """Bind 127.0.0.1.

        Args:
            directory: only files inside it are ever served.
            api_key: what `Authorization: Bearer` or `Basic` must carry on the history API.
            port: 0 takes a free one.
            rate_limit: answer 403 to history requests less than a second after the last accepted one, and 429 to
                live requests less than a second after the last one for the same feed.
        """
        self.directory = directory.resolve()
        self.api_key = api_key
        self.rate_limit = rate_limit
        self.requests: list[RecordedRequest] = []
        self.not_entitled: set[str] = set()
        self.live: dict[str, list[LiveAnswer]] = {}
        self._asked_seconds: dict[str, float] = {}
        self._signatures: defaultdict[str, set[str]] = defaultdict(set)
        self._plans: defaultdict[str, Plan] = defaultdict(lambda: Plan(Behaviour()))
        self._next_turn_seconds = 0.0
        self._turn = threading.Lock()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="gexbot-stand-in")

    def __enter__(self) -> Self:
        """Start answering, in background threads."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop answering: open connections are closed, all threads have ended on return."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`; the history API is below `/v2/hist/`."""
        return f"http://{self.host}"

    def signed_url(self, name: str, *, expire_old: bool = False, **behaviour: Any) -> str:  # noqa: ANN401
        """Sign a file's URL afresh; earlier signatures stay valid unless `expire_old`.

        Args:
            name: path inside the directory, whether or not it exists.
            expire_old: make the signatures given out before invalid.
            behaviour: fields of `Behaviour`, for this file under any of its signatures. Without any, the file keeps
                the behaviour it has; with some, the others are the defaults and counts start again.
        """
        signature = base64.b64encode(secrets.token_bytes(32)).decode()
        if behaviour:
            self._plans[name] = Plan(Behaviour(**behaviour))
        if expire_old:
            self._signatures[name].clear()
        self._signatures[name].add(signature)
        expiry = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        query = urlencode({"sv": "2024-11-04", "se": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"), "sig": signature})
        return f"{self.base_url}{_FILES_PATH}{quote(name, safe='')}?{query}"

    def plan_for(self, name: str, signature: str) -> Plan | None:
        """How to answer for a file; None when the signature was not given out for it or has expired."""
        return self._plans[name] if signature in self._signatures[name] else None

    def take_turn(self) -> bool:
        """Whether a history request may be answered now; with `rate_limit`, one per second may."""
        with self._turn:
            now = time.monotonic()
            if self.rate_limit and now < self._next_turn_seconds:
                return False
            self._next_turn_seconds = now + 1
            return True

    def live_answer(self, feed: str) -> LiveAnswer:
        """The answer to the next live request for a feed."""
        with self._turn:
            now = time.monotonic()
            too_soon = now < self._asked_seconds.get(feed, 0.0) + _LIVE_INTERVAL_SECONDS
            self._asked_seconds[feed] = now
            if self.rate_limit and too_soon:
                return LiveAnswer(body=b'{"error": "Too many requests"}', status=HTTPStatus.TOO_MANY_REQUESTS)
            answers = self.live.get(feed)
            if not answers:
                return LiveAnswer(body=b'{"error": "no such ticker or category"}', status=HTTPStatus.NOT_FOUND)
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def find_file(self, name: str) -> Path | None:
        """The file of that name; None when there is none or it lies outside the directory."""
        path = (self.directory / name).resolve()
        return path if path.is_relative_to(self.directory) and path.is_file() else None


class _Server(ThreadingHTTPServer):
    """Keeps its open connections, so that stopping does not wait for clients that keep theirs alive."""

    daemon_threads = False

    def __init__(self, stand_in: GexBotStandIn, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.stand_in = stand_in
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections = {known for known in self._connections if known.fileno() != -1} | {connection}
        return connection, address

    def close_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if not isinstance(sys.exception(), ConnectionError):  # a client may leave at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet; `requests` tells."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        if url.path.startswith(_FILES_PATH):
            self._get_file(unquote(url.path.removeprefix(_FILES_PATH)), query.get("sig", [""])[0])
        elif found := _HISTORY_PATH.fullmatch(url.path):
            self._get_history(found, redirect="noredirect" not in query)
        elif found := _LIVE_PATH.fullmatch(url.path):
            self._get_live(f"{unquote(found['ticker'])}:{found['category']}")
        else:
            self._answer_error(HTTPStatus.NOT_FOUND, f"no such path: {url.path}")

    def _get_history(self, found: re.Match[str], *, redirect: bool) -> None:
        stand_in = self.server.stand_in
        if not self._has_key():
            return
        try:
            ticker = normalise_ticker(unquote(found["ticker"]))
        except RecordError as error:
            self._answer_error(HTTPStatus.NOT_FOUND, str(error))
            return
        if not stand_in.take_turn() or ticker in stand_in.not_entitled:
            self._answer_error(HTTPStatus.FORBIDDEN, _FORBIDDEN)
            return
        stem = f"{found['date']}_{ticker}_{found['package']}_{found['category']}"
        name = next((name for name in (f"{stem}.json", f"{stem}.json.gz") if stand_in.find_file(name)), None)
        if name is None:
            self._answer_error(HTTPStatus.NOT_FOUND, f"no history: {stem}")
        elif redirect:
            self._redirect(stand_in.signed_url(name))
        else:
            self._answer_json(HTTPStatus.OK, {"url": stand_in.signed_url(name)})

    def _get_live(self, feed: str) -> None:
        if not self._has_key():
            return
        answer = self.server.stand_in.live_answer(feed)
        headers = {"Content-Type": "application/json", **answer.headers}
        self._start(answer.status, headers, length=len(answer.body))
        self.wfile.write(answer.body)

    def _has_key(self) -> bool:
        """Tell whether the request carries the key; answer it when it does not."""
        key = self.server.stand_in.api_key
        if self.headers["Authorization"] in {f"Bearer {key}", f"Basic {key}"}:
            return True
        self._answer_error(HTTPStatus.UNAUTHORIZED, "a valid API key is needed")
        return False

    def _get_file(self, name: str, signature: str) -> None:
        stand_in = self.server.stand_in
        plan = stand_in.plan_for(name, signature)
        if plan is None:
            self._answer_error(HTTPStatus.FORBIDDEN, "the signature is missing, wrong or expired")
            return
        behaviour = plan.behaviour
        path = stand_in.find_file(name)
        if behaviour.status is not None:
            self._answer_error(behaviour.status, "this file is always answered so")
        elif plan.failures.acquire(blocking=False):
            self._answer_error(behaviour.failure_status, "try again")
        elif behaviour.redirect_to is not None:
            self._redirect(behaviour.redirect_to)
        elif path is None:
            self._answer_error(HTTPStatus.NOT_FOUND, f"no such file: {name}")
        else:
            self._send_file(path, plan)

    def _send_file(self, path: Path, plan: Plan) -> None:
        behaviour = plan.behaviour
        stat = path.stat()
        size, etag = stat.st_size, f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        wanted = self._wanted_range(size, etag) if behaviour.ranges else None
        start, stop = wanted or (0, size)
        if wanted and start >= stop:
            self._start(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"}, length=0)
            return
        headers = {"Content-Type": behaviour.content_type, "ETag": etag}
        if behaviour.ranges:
            headers["Accept-Ranges"] = "bytes"
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
        promised = sent = stop - start
        if behaviour.cut_after is not None and behaviour.cut_after < promised and plan.cuts.acquire(blocking=False):
            sent = behaviour.cut_after
        self._start(status, headers, length=None if behaviour.chunked else promised)
        with path.open("rb") as file:
            file.seek(start)
            self._send_body(file, sent, behaviour)
        if sent < promised:
            self.close_connection = True
        elif behaviour.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _wanted_range(self, size: int, etag: str) -> tuple[int, int] | None:
        """The bytes asked for, from and to (excluded); empty if not satisfiable, None for the whole file."""
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        if not found or found.groups() == ("", "") or self.headers.get("If-Range", etag) != etag:
            return None
        first, last = found.groups()
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1) if last else size

    def _send_body(self, file: BinaryIO, length: int, behaviour: Behaviour) -> None:
        rate = behaviour.bytes_per_second
        piece_bytes = min(_PIECE_BYTES, max(1, rate // 20)) if rate else _PIECE_BYTES
        while length and (piece := file.read(min(piece_bytes, length))):
            if rate:
                time.sleep(len(piece) / rate)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if behaviour.chunked else piece)
            length -= len(piece)

    def _redirect(self, url: str) -> None:
        self._start(HTTPStatus.FOUND, {"Location": url}, length=0)

    def _answer_error(self, status: int, message: str) -> None:
        self._answer_json(status, {"error": message})

    def _answer_json(self, status: int, value: dict[str, str]) -> None:
        body = json.dumps(value).encode()
        self._start(status, {"Content-Type": "application/json"}, length=len(body))
        self.wfile.write(body)

    def _start(self, status: int, headers: dict[str, str], *, length: int | None) -> None:
        """Record the request and send the answer's head; no length means chunked."""
        path = self.path.partition("?")[0]
        self.server.stand_in.requests.append(
            RecordedRequest(self.command, path, int(status), self.headers.get("Range"))
        )
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a directory until SIGTERM or SIGINT, after printing the base URL."""
    parser = argparse.ArgumentParser(description="Stand in for GexBot's history API and file host, on loopback.")
    parser.add_argument("--directory", type=Path, required=True, help="where the history files are")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args(arguments)
    if not options.directory.is_dir():
        parser.error(f"no such directory: {options.directory}")
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)
    with suppress(KeyboardInterrupt), GexBotStandIn(options.directory, port=options.port) as stand_in:
        sys.stdout.write(f"{stand_in.base_url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
