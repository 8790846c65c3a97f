"""Unusual Whales messages: what a body sent to `POST /uw` says."""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gex_pipeline.errors import RecordError

_Decoded = TypeVar("_Decoded")


_FRAME = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOPIC = msgspec.json.Decoder(str)
_EVENT = msgspec.json.Decoder(str | None)
_SNAPSHOT_FIELDS = {"timestamp", "strikes"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message, whichever frame carried it.

    Attributes:
        topic: the channel, `option_trades:TSLA`; never empty.
        event: Phoenix's event or the object's event type; None where the frame has none.
        payload: the payload's JSON text exactly as sent.
        is_control: the socket's own traffic (joins, heartbeats, their answers), not data.
    """

    topic: str
    event: str | None
    payload: bytes
    is_control: bool


def parse_message(body: bytes | memoryview) -> Message:
    """Read one of the three frames.

    These are Phoenix's `[join_ref, ref, topic, event, payload]`, the pair `[channel, payload]`, and an object
    of `topic` or `channel`, `event_type` or `event` (optional), and `payload` or `data`. The socket's answer to a
    join, `{"response":{},"status":"ok"}`, may also come alone.

    Raises:
        RecordError: not UTF-8, not JSON, nested too deeply, or none of the frames.
    """
    body = bytes(body)
    try:
        str(body, "utf-8")  # the decoder below checks the syntax of what it leaves raw, but not its encoding
    except UnicodeDecodeError as error:
        raise RecordError.of("", _excerpt(body), f"UTF-8 text ({error.reason} at byte {error.start})") from error
    match decode(_FRAME, body, "", "an array or an object"):
        case [_, _, topic, event, payload]:
            frame = {"topic": topic, "event": event, "payload": payload}
        case [topic, payload]:
            frame = {"topic": topic, "payload": payload}
        case dict() as frame if _is_join_answer(frame):  # without the frame that it answers in
            return Message("phoenix", None, body, is_control=True)
        case dict() as frame:
            pass
        case _:
            frames = "[join_ref, ref, topic, event, payload], [channel, payload] or an object"
            raise RecordError.of("", _excerpt(body), frames)
    return _message(frame)


def _message(frame: dict[str, msgspec.Raw]) -> Message:
    topic_key = "topic" if "topic" in frame or "channel" not in frame else "channel"
    topic = decode(_TOPIC, frame.get(topic_key), topic_key, "a non-empty string")
    if not topic.strip():
        raise RecordError.of(topic_key, repr(topic), "a non-empty string")
    event_key = "event_type" if "event_type" in frame else "event"
    event = decode(_EVENT, frame.get(event_key, b"null"), event_key, "a string")
    raw = frame.get("payload", frame.get("data"))
    if raw is None:
        raise RecordError.of("payload", "nothing", "the message's data, as payload or data")
    payload = bytes(raw)
    return Message(topic, event, payload, _is_control(topic, event, payload))


def _is_control(topic: str, event: str | None, payload: bytes) -> bool:
    if topic == "phoenix" or event == "heartbeat" or (event and event.startswith("phx_")):
        return True
    if b'"response"' not in payload:
        return False
    return _is_join_answer(_object(payload))


def _is_join_answer(answer: dict[str, msgspec.Raw]) -> bool:
    return (
        answer.keys() == {"response", "status"}
        and bytes(answer["response"]).startswith(b"{")
        and bytes(answer["status"]) == b'"ok"'
    )


def snapshot_payload(message: Message) -> bytes | None:
    """Cut the JSON text of a GexBot snapshot out of a `gex` message; None when it carries none.

    The snapshot is the payload or the payload's `data`, known by its `timestamp` and `strikes`: the channels
    `gex:SPY` and `gex_strike:SPY` also carry the vendor's own exposure figures, which are no snapshots.
    """
    if message.topic != "gex" and not message.topic.startswith(("gex:", "gex_")):
        return None
    text = message.payload
    fields = _object(text)
    if "data" in fields and not fields.keys() >= _SNAPSHOT_FIELDS:
        text = bytes(fields["data"])
        fields = _object(text)
    return text if fields.keys() >= _SNAPSHOT_FIELDS else None


def _object(text: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object, still as text; none for any other JSON value."""
    return decode(_OBJECT, text, "payload", "an object") if text.startswith(b"{") else {}


def decode(decoder: "msgspec.json.Decoder[_Decoded]", text: bytes | None, field: str, expected: str) -> _Decoded:
    if text is None:
        raise RecordError.of(field, "nothing", expected)
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise RecordError.of(field, _excerpt(text), expected) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError.of(field, _excerpt(text), f"valid JSON ({error})") from error
    except RecursionError as error:
        raise RecordError.of(field, _excerpt(text), "JSON that is nested less deeply") from error


def _excerpt(text: bytes) -> str:
    return bytes(text)[:100].decode(errors="replace")
