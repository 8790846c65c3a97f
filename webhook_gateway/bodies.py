"""Reading a request: its key, its type, its size; and answering errors in one shape."""

import hmac
from collections.abc import Iterable

import msgspec
from fastapi import HTTPException, Request
from fastapi.responses import Response
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

from gex_pipeline.errors import FieldProblem

MAX_BODY_BYTES = 8 * 1024**2
_JSON_TYPES = frozenset({"", "application/json", "text/plain", "text/json"})


async def read_body(request: Request) -> bytes:
    """Return the body of a request that says it is JSON, or plain text as browsers' beacons do.

    Raises:
        HTTPException: 415 for another type or a compressed body, 413 when it is larger than MAX_BODY_BYTES, 400 when
            it is empty or cut off.
    """
    sent = dict(request.scope["headers"])
    kind = sent.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise problem(415, FieldProblem("content-type", kind[:80], "application/json"))
    encoding = sent.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in {"identity", ""}:
        raise problem(415, FieldProblem("content-encoding", encoding[:80], "a body that is not compressed"))
    size = sent.get(b"content-length", b"0")
    if size.isdigit() and int(size[:20]) > MAX_BODY_BYTES:
        raise _too_large(int(size[:20]))
    chunks: list[bytes] = []
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > MAX_BODY_BYTES:
                raise _too_large(received)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise problem(400, FieldProblem("", "a body that was cut off", "the whole body")) from error
    body = b"".join(chunks)
    if not body:
        raise problem(400, FieldProblem("", "an empty body", "a JSON document"))
    return body


def problem(status: int, *problems: FieldProblem, headers: dict[str, str] | None = None) -> HTTPException:
    """Build the error every route answers with: a list of field, value and what was expected."""
    return HTTPException(status, describe(problems), headers)


def describe(problems: Iterable[FieldProblem]) -> list[dict[str, str]]:
    """Return problems as they stand in an answer's `detail`."""
    return [{"field": each.field, "value": each.value, "expected": each.expected} for each in problems]


def json_response(content: object, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def has_key(request: Request, key: SecretStr | None) -> bool:
    """Tell whether a request may pass: no key is set, or it carries the key. Compares in constant time."""
    if key is None:
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    return hmac.compare_digest(given.encode(), key.get_secret_value().encode())


def _too_large(size: int) -> HTTPException:
    return problem(413, FieldProblem("content-length", str(size), f"at most {MAX_BODY_BYTES} bytes"))
