"""Which format a reader is answered in, and the answer in it."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from gex_pipeline.errors import FieldProblem
from webhook_gateway.bodies import problem
from webhook_gateway.queries import Queries

if TYPE_CHECKING:
    from gex_pipeline.queries.answer import Answer

JSON, ARROW, PARQUET = "application/json", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
FORMATS = (JSON, ARROW, PARQUET)
# JSON of more rows is sent while the rest of it is made.
WHOLE_ROWS = 5_000
# What a page of another origin may read besides the body.
EXPOSED_HEADERS = (
    "X-Gex-As-Of",
    "X-Gex-Source",
    "X-Gex-Partial",
    "X-Gex-Timestamp",
    "X-Next-Start",
    "Retry-After",
)


def chosen_format(request: Request) -> str:
    """Return the type that a request's Accept header prefers, of equals the first of FORMATS.

    Raises:
        HTTPException: 406 when it takes none of them.
    """
    accepted = ",".join(request.headers.getlist("accept")) or "*/*"
    best = max(FORMATS, key=lambda each: _weight(accepted, each))
    if _weight(accepted, best) <= 0:
        raise problem(406, FieldProblem("accept", accepted[:80], ", ".join(FORMATS)))
    return best


def _weight(accepted: str, media_type: str) -> float:
    """Return how much a type is wanted, 0 not at all; the range that fits most closely decides."""
    weights: dict[str, float] = {}
    for each in accepted.split(","):
        media_range, *parameters = (part.strip().lower() for part in each.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        try:
            weights[media_range] = float(quality)
        except ValueError:
            continue
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0)


class Written:
    """An answer in a format: its headers, and its bytes piece by piece, each made when it is asked for."""

    def __init__(self, answer: "Answer", media_type: str, *, is_json: bool = False) -> None:
        """Make it at once when it is small or written in one piece; `is_json`: its rows are JSON already."""
        from gex_pipeline.queries.json_rows import json_array, json_pieces  # noqa: PLC0415
        from gex_pipeline.queries.rows import arrow_stream, parquet_file  # noqa: PLC0415

        self.headers = headers_of(answer)
        self.media_type = media_type
        self._pieces: Iterator[bytes | memoryview] = iter(())
        if media_type == ARROW:
            self.body: bytes | None = arrow_stream(answer.rows)
        elif media_type == PARQUET:
            self.body = parquet_file(answer.rows)
        elif is_json:
            self.body = json_array(answer.rows["json"])
        else:
            pieces = json_pieces(answer.rows)
            self.body = b"".join(pieces) if answer.rows.num_rows <= WHOLE_ROWS else None
            self._pieces = pieces

    def response(self, queries: Queries) -> Response:
        """Return what is sent; what is not made yet is made in the threads of queries."""
        if self.body is not None:
            return Response(self.body, headers=self.headers, media_type=self.media_type)

        async def rest() -> AsyncIterator[bytes | memoryview]:
            while piece := await queries.go_on(lambda: next(self._pieces, b"")):
                yield piece

        return StreamingResponse(rest(), headers=self.headers, media_type=self.media_type)


def headers_of(answer: "Answer") -> dict[str, str]:
    """Return what is said of an answer besides its rows."""
    headers = {"X-Gex-Source": ", ".join(sorted(answer.sources)) or "memory", "Vary": "Accept"}
    if answer.lack:
        headers["X-Gex-Partial"] = answer.lack
    if answer.next_start_ms is not None:
        headers["X-Next-Start"] = str(answer.next_start_ms)
    if answer.timestamp_ms is not None:
        headers["X-Gex-Timestamp"] = str(answer.timestamp_ms)
    return headers
