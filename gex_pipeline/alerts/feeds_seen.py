"""When each feed sent last, read from the journal as the gateway writes it."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import DEFAULT_ENDPOINT, Feed
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.formats.unusual_whales import parse_message, snapshot_payload
from gex_pipeline.journal import Kind, journal_id, list_segments, segment_path

MESSAGES = "/uw"


class _Line(msgspec.Struct):
    received_at: int
    kind: Kind
    body: msgspec.Raw


_decoder = msgspec.json.Decoder(_Line)


class FeedsSeen:
    """Follows a journal.

    Attributes:
        last_ms: by feed, and for all Unusual Whales messages together, when it sent last (epoch ms UTC).
    """

    def __init__(self, journal_dir: Path, last_ms: dict[str, int]) -> None:
        """Begin with what is known from before; nothing is read yet."""
        self.last_ms = dict(last_ms)
        self._dir = journal_dir
        self._journal: str | None = None
        self._segment = 0
        self._file: BinaryIO | None = None

    def read_on(self) -> None:
        """Read what was written since the last time; at first only the last two segments, since a backlog is long."""
        if (journal := journal_id(self._dir)) != self._journal:
            self._journal, self._segment = journal, max(list_segments(self._dir), default=0) - 2
            self.close()
        while True:
            # Looked up before reading: a segment with a successor gets no further lines.
            following = [segment for segment in list_segments(self._dir) if segment > self._segment]
            if self._file is not None:
                self._read_lines(self._file)
            if not following:
                return
            self.close()
            self._segment = following[0]
            with suppress(FileNotFoundError):
                # Kept open, so that the loader may archive it before all of it was read.
                self._file = segment_path(self._dir, self._segment).open("rb")

    def _read_lines(self, file: BinaryIO) -> None:
        for line in file:
            if not line.endswith(b"\n"):
                file.seek(-len(line), 1)
                return
            with suppress(RecordError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                fields = _decoder.decode(line)
                for name in _feeds_of(fields.kind, bytes(fields.body)):
                    self.last_ms[name] = max(fields.received_at, self.last_ms.get(name, 0))

    def close(self) -> None:
        """Let go of the segment that is read."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _feeds_of(kind: Kind, body: bytes) -> list[str]:
    if kind == "gex_history_url":
        return []
    names = [MESSAGES] if kind == "uw" else []
    text = body if kind == "gex" else snapshot_payload(parse_message(body))
    if text is not None:
        snapshot = parse_snapshot(text)
        if snapshot.ticker is not None:
            names.append(Feed(snapshot.ticker, snapshot.endpoint or DEFAULT_ENDPOINT).key)
    return names
