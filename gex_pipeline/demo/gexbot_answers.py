"""What the GexBot stand-in is told to answer, and what it writes down of the requests it answered."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the file host answers for one file; the default is a good server.

    Attributes:
        content_type: media type of the file's answers. The bytes go out as they are on disk, gzip or not.
        bytes_per_second: slows the body down; None is full speed.
        status: always answered, with an error body.
        failures: so many answers of `failure_status`, then the file.
        failure_status: the status of those answers.
        cut_after: body bytes after which the connection closes although the headers promised more.
        cuts: so many answers are cut, then the file is sent whole.
        ranges: honour `Range` and `If-Range`; when False the whole file is the answer to every request.
        redirect_to: a URL to answer 302 with.
        chunked: `Transfer-Encoding: chunked` in place of a `Content-Length`.
    """

    content_type: str = "application/json"
    bytes_per_second: int | None = None
    status: int | None = None
    failures: int = 0
    failure_status: int = HTTPStatus.SERVICE_UNAVAILABLE
    cut_after: int | None = None
    cuts: int = 1
    ranges: bool = True
    redirect_to: str | None = None
    chunked: bool = False


@dataclass(frozen=True, kw_only=True)
class LiveAnswer:
    """One answer of the live API."""

    body: bytes = b"{}"
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedRequest:
    """One answered request, recorded before its answer is sent.

    Attributes:
        method: `GET`.
        path: as sent, percent-encoded, without the query.
        status: of the answer.
        range: the `Range` header; None when there was none.
    """

    method: str
    path: str
    status: int
    range: str | None


class Plan:
    """A behaviour and what is left of its failures and cuts, to be taken by one answer each."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.failures = threading.Semaphore(behaviour.failures)
        self.cuts = threading.Semaphore(behaviour.cuts)
