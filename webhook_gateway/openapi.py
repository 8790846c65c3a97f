"""What the OpenAPI document says of bodies and answers: real payloads, as schemas with examples."""

from typing import Any

from gex_pipeline.formats.gexbot import NUMBER_COLUMNS, WHOLE_COLUMNS
from webhook_gateway.openapi_examples import (
    ANNOUNCEMENT_EXAMPLE,
    LEAN_SNAPSHOT_EXAMPLE,
    MESSAGE_EXAMPLES,
    SNAPSHOT_EXAMPLE,
)

_NUMBER = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?[0-9]+(\.[0-9]+)?$"}, {"type": "null"}]
}
_STRIKE = {
    "description": "[strike, gex by volume, gex by open interest, [1, 5, 10, 15, 30 minutes ago]], or an object",
    "anyOf": [
        {"type": "array", "minItems": 2, "maxItems": 4},
        {
            "type": "object",
            "required": ["strike"],
            "properties": {
                "strike": {"type": "number"},
                "gamma_now": _NUMBER,
                "gamma": _NUMBER,
                "oi_gamma": _NUMBER,
                "vanna": _NUMBER,
                "history": {"type": ["array", "null"], "items": _NUMBER},
            },
        },
    ],
}
_SNAPSHOT = {
    "type": "object",
    "description": "A GexBot classic snapshot. Fields not listed are kept too, in the column `extra`.",
    "required": ["timestamp", "ticker"],
    "properties": {
        "timestamp": {
            "description": "epoch seconds, epoch milliseconds, or ISO 8601 (UTC when it names no zone)",
            "anyOf": [{"type": "number"}, {"type": "string"}],
        },
        "ticker": {"type": "string", "examples": ["SPX", "NQ_NDX"]},
        "endpoint": {"type": "string", "default": "gex_zero", "examples": ["gex_zero", "gex_one", "gex_full"]},
        "spot": _NUMBER,
        "spot_price": _NUMBER,
        "zero_gamma": _NUMBER,
        "net_gex": _NUMBER,
        "net_gex_vol": _NUMBER,
        "net_gex_oi": _NUMBER,
        "min_dte": {"type": ["integer", "null"]},
        "sec_min_dte": {"type": ["integer", "null"]},
        "major_pos_vol": _NUMBER,
        "major_pos_oi": _NUMBER,
        "major_neg_vol": _NUMBER,
        "major_neg_oi": _NUMBER,
        "sum_gex_vol": _NUMBER,
        "sum_gex_oi": _NUMBER,
        "delta_risk_reversal": _NUMBER,
        "strikes": {"type": ["array", "null"], "items": _STRIKE},
        "max_priors": {"description": "six [strike, value] pairs: now, 1, 5, 10, 15, 30 minutes ago"},
        "max_change": {"description": "an object of windows"},
    },
}
_ANNOUNCEMENT = {
    "type": "object",
    "description": "Ticker, endpoint and day in the URL's file name win over the body's.",
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "format": "uri", "description": "https, to a host of GEX_HISTORY_HOSTS"},
        "ticker": {"type": "string", "description": "also `symbol`, `underlying`"},
        "endpoint": {"type": "string", "description": "also `feed`, `kind`, `type`, `gex_type`"},
        "date": {"type": "string", "description": "the trading day, when the file name does not say it"},
        "metadata": {"type": "object"},
    },
}
_MESSAGE = {"anyOf": [{"type": "array", "minItems": 2, "maxItems": 5}, {"type": "object"}]}


def _body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": schema, "examples": examples}
    return {"requestBody": {"required": True, "content": {"application/json": content, "text/plain": content}}}


SNAPSHOT_BODY = _body(
    _SNAPSHOT,
    {
        "vendor": {"summary": "as GexBot sends it", "value": SNAPSHOT_EXAMPLE},
        "lean": {"summary": "ISO time, strikes as objects", "value": LEAN_SNAPSHOT_EXAMPLE},
    },
)
MESSAGE_BODY = _body(_MESSAGE, MESSAGE_EXAMPLES)
ANNOUNCEMENT_BODY = _body(
    _ANNOUNCEMENT, {"signed": {"summary": "a signed link to a day's file", "value": ANNOUNCEMENT_EXAMPLE}}
)

_PROBLEM = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["field", "value", "expected"],
                "properties": {
                    "field": {"type": "string"},
                    "value": {"type": "string"},
                    "expected": {"type": "string"},
                },
            },
        }
    },
}
_REQUEST = {
    "type": "object",
    "required": ["id", "ticker", "endpoint", "date", "status", "attempts", "last_error", "run_id"],
    "properties": {
        "id": {"type": "integer"},
        "ticker": {"type": "string"},
        "endpoint": {"type": "string"},
        "date": {"type": "string", "format": "date"},
        "status": {"enum": ["pending", "started", "completed", "failed"]},
        "attempts": {"type": "integer"},
        "last_error": {"type": ["string", "null"]},
        "run_id": {"type": ["string", "null"]},
    },
}
_LINE = {
    "type": "object",
    "description": "Times are epoch milliseconds UTC; what a journal segment or an earlier version has not is null.",
    "properties": {
        "import_id": {"type": "integer"},
        "source_file": {"type": "string"},
        "sha256": {"type": ["string", "null"]},
        "record_type": {"enum": ["history", "live"]},
        "ticker": {"type": ["string", "null"]},
        "endpoint": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "records_imported": {"type": "integer"},
        "strikes_imported": {"type": "integer"},
        "records_present": {"type": "integer", "description": "snapshots that were there already"},
        "records_differing": {"type": "integer", "description": "those of them with other values"},
        "records_replaced": {"type": ["integer", "null"], "description": "those of them that gave way"},
        "started_at": {"type": ["integer", "null"]},
        "seconds": {"type": ["number", "null"]},
        "import_timestamp": {"type": "integer"},
        "status": {"enum": ["imported", "unchanged", "replaced", "refused", "failed"]},
        "errors": {"type": ["string", "null"], "description": "why it was refused or failed"},
        "run_id": {"type": ["string", "null"]},
    },
}
_DAY = {
    "type": "object",
    "required": ["feed", "date", "state", "snapshots", "parquet_snapshots", "first", "last", "detail"],
    "properties": {
        "feed": {"type": "string", "examples": ["NQ_NDX:gex_zero"]},
        "date": {"type": "string", "format": "date"},
        "state": {
            "enum": [
                "complete",
                "partial",
                "missing",
                "conflicting",
                "never_exported",
                "about_to_expire",
                "expired",
                "never_published",
            ],
        },
        "snapshots": {"type": "integer", "description": "in the database or, where that is locked, in Parquet"},
        "parquet_snapshots": {"type": "integer"},
        "first": {"type": ["integer", "null"], "description": "of the snapshots, epoch milliseconds UTC"},
        "last": {"type": ["integer", "null"]},
        "detail": {"type": "string", "description": "why it has this state, in one line"},
    },
}
MOMENT = "epoch seconds, epoch milliseconds or ISO 8601, UTC when it names no zone"
_LATEST: dict[str, Any] = {
    "type": "object",
    "description": "Fields that have no column are in `extra`, as they were sent.",
    "required": ["ticker", "endpoint", "timestamp", "received_at", "source", "strikes"],
    "properties": {
        "ticker": {"type": "string"},
        "endpoint": {"type": "string"},
        "timestamp": {"type": "integer", "description": "epoch milliseconds UTC"},
        "received_at": {"type": "integer", "description": "when it came, epoch milliseconds UTC"},
        "source": {"enum": ["live", "uw"]},
        **{name: {"type": ["integer" if name in WHOLE_COLUMNS else "number", "null"]} for name in NUMBER_COLUMNS},
        "max_priors": {},
        "max_change": {},
        "extra": {"type": ["object", "null"]},
        "strikes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["strike", "gamma", "oi_gamma", "vanna", "priors"],
                "properties": {
                    "strike": {"type": "number"},
                    "gamma": {"type": ["number", "null"]},
                    "oi_gamma": {"type": ["number", "null"]},
                    "vanna": {"type": ["number", "null"]},
                    "priors": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
                },
            },
        },
    },
}
_SOURCES = "^(database|memory|parquet)(, (memory|parquet))*$"
_ROW = {
    "type": "object",
    "description": "The columns that were asked for.",
    "required": ["timestamp"],
    "properties": {
        **{
            name: _LATEST["properties"][name]
            for name in _LATEST["properties"]
            if name not in {"received_at", "strikes"}
        },
        "source": {"enum": ["live", "uw", "history", None]},
    },
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        400: "something in the request is wrong; nothing was kept",
        401: "the API key is missing or wrong",
        404: "there is no such thing",
        406: "no format that the Accept header takes",
        408: "the request did not arrive within GEX_TIMEOUT_REQUEST",
        413: "the body is too large",
        415: "the body is not JSON by its type, or compressed",
        429: "too many requests from this client (GEX_RATE_LIMIT_*); again after Retry-After seconds",
        431: "request line and headers are too large",
        503: "not possible right now, nothing was acknowledged; send it again after Retry-After seconds",
    }
    return {status: _answer(texts[status], _PROBLEM) for status in statuses}


def capture_answers(success: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route that captures."""
    properties = {name: {"type": "string"} for name in ("status", "ticker", "message")}
    schema = {"type": "object", "required": ["status"], "properties": properties}
    return {success: _answer("it is on the disk", schema), **_refusals(400, 401, 408, 413, 415, 429, 431, 503)}


def announcement_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `POST /gex_history_url`."""
    names = ("status", "ticker", "endpoint", "date", "duckdb_path", "parquet_dir")
    schema = {
        "type": "object",
        "required": ["id", *names],
        "properties": {"id": {"type": "integer"}} | {name: {"type": "string"} for name in names},
    }
    return {202: _answer("it is queued", schema), **_refusals(400, 401, 408, 413, 415, 429, 431, 503)}


def queue_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of the queue routes."""
    schema = {"anyOf": [_REQUEST, {"type": "array", "items": _REQUEST}]}
    return {200: _answer("what became of it", schema), **_refusals(400, 401, 404, 503)}


def lineage_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /lineage`."""
    return {200: _answer("the newest first", {"type": "array", "items": _LINE}), **_refusals(400, 401, 503)}


def coverage_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /coverage`."""
    answer = _answer("by feed and date", {"type": "array", "items": _DAY})
    as_of = _header("when what is answered was looked up, epoch milliseconds UTC", r"^[0-9]+$")
    return {200: answer | {"headers": {"X-Gex-As-Of": as_of}}, **_refusals(400, 401, 503)}


def latest_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /gex/latest`."""
    schema = {"type": "array", "items": _LATEST}
    return {200: _answer("by ticker and endpoint", schema), **_refusals(400, 401, 404)}


def snapshots_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /gex`."""
    more = {"X-Next-Start": _header("the `start` of the rest, when there is more than the limit", r"^[0-9]+$")}
    return {200: _rows_answer("rows by time", _ROW, more), **_refusals(400, 401, 404, 406, 503)}


def strikes_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /gex/strikes`."""
    named = {name: _LATEST["properties"][name] for name in ("timestamp", "ticker", "endpoint")}
    strike = _LATEST["properties"]["strikes"]["items"]
    row = {
        "type": "object",
        "required": [*named, *strike["required"]],
        "properties": named | strike["properties"] | {"strike": {"type": ["number", "null"]}},
    }
    more = {"X-Gex-Timestamp": _header("the snapshot's time, epoch milliseconds UTC", r"^[0-9]+$")}
    return {200: _rows_answer("rows by strike", row, more), **_refusals(400, 401, 404, 406, 503)}


def _header(description: str, pattern: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", "pattern": pattern}}


def _rows_answer(description: str, row: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": description,
        "headers": {
            "X-Gex-Source": _header("what the rows came from and who was asked for more", _SOURCES),
            "X-Gex-Partial": _header("why the database could not be asked, when it could not", "^database "),
            **more,
        },
        "content": {
            "application/json": {"schema": {"type": "array", "items": row}},
            "application/vnd.apache.arrow.stream": binary,
            "application/vnd.apache.parquet": binary,
        },
    }


def stream_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /gex/stream`."""
    events = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {200: {"description": "events, until one side ends it", **events}, **_refusals(400, 401, 503)}


def finish_document(document: dict[str, Any], *, open_paths: frozenset[str], needs_key: bool) -> dict[str, Any]:
    """Take out the status that the framework names and this gateway never gives, and say where a key goes."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if needs_key and path not in open_paths:
                operation["security"] = [{"bearer": []}, {"key": []}]
    if needs_key:
        document.setdefault("components", {})["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return document


def _checked(**figures: dict[str, Any]) -> dict[str, Any]:
    """Describe one check of `GET /ready`."""
    properties = {"ok": {"type": "boolean"}, "error": {"type": ["string", "null"]}} | figures
    return {"type": "object", "required": list(properties), "properties": properties}


def health_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answer of `GET /health`."""
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    return {200: _answer("the process is alive", schema)}


def ready_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /ready`."""
    whole, number, process = {"type": "integer"}, {"type": "number"}, {"type": ["integer", "null"]}
    poller = _checked(process=process, restarts=whole, feeds={"type": "object"})
    poller["required"].remove("error")
    checks = {
        "journal": _checked(segment=process),
        "loader": _checked(process=process, restarts=whole),
        "backlog": _checked(bytes=whole, age_seconds=number),
        "disk": _checked(free_bytes=whole),
    }
    schema = {
        "type": "object",
        "required": ["status", "checks"],
        "properties": {
            "status": {"enum": ["ready", "degraded", "unavailable"]},
            "checks": {"type": "object", "required": list(checks), "properties": checks | {"poller": poller}},
        },
    }
    taken = "captures are taken; degraded: they are not being loaded"
    return {200: _answer(taken, schema), 503: _answer("captures are refused, or would be soon", schema)}


def metrics_answers() -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `GET /metrics`."""
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    return {200: {"description": "Prometheus text, one family per line of docs/metrics.md", **text}, **_refusals(401)}
