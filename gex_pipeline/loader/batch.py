"""From journal records to rows: one batch, transformed before any lease is taken."""

import datetime as dt
import logging
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import pyarrow as pa

from gex_pipeline.errors import RecordError
from gex_pipeline.feeds import DEFAULT_ENDPOINT, Feed
from gex_pipeline.formats.columns import SnapshotColumns
from gex_pipeline.formats.gexbot import parse_snapshot
from gex_pipeline.formats.option_trades import OptionTrade, trades, trades_table
from gex_pipeline.formats.unusual_whales import parse_message, snapshot_payload
from gex_pipeline.journal import DamagedLine, JournalRecord
from gex_pipeline.storage.quarantine import BadRecord

logger = logging.getLogger(__name__)

WEBHOOKS_SCHEMA = pa.schema(
    [
        ("received_at", pa.int64()),
        ("topic", pa.string()),
        ("event", pa.string()),
        ("payload", pa.string()),
        ("journal_segment", pa.int64()),
        ("journal_offset", pa.int64()),
    ]
)


class Announcement(msgspec.Struct):
    """A validated `/gex_history_url` request, as the gateway writes it to the journal."""

    ticker: str
    endpoint: str
    date: dt.date
    url: str
    metadata: msgspec.Raw = msgspec.Raw(b"null")


_announcement = msgspec.json.Decoder(Announcement)


@dataclass
class Batch:
    """What a run of journal records turns into.

    Attributes:
        snapshots: by source, `live` for /gex and `uw` for snapshots inside /uw messages; each key once.
        repeated: snapshots whose key an earlier record of this batch had.
        repeated_differing: those of them whose text was not the same.
    """

    segment: int
    snapshots: dict[Literal["live", "uw"], SnapshotColumns] = field(
        default_factory=lambda: {"live": SnapshotColumns(), "uw": SnapshotColumns()}
    )
    webhooks: list[dict[str, object]] = field(default_factory=list)
    trades: list[tuple[int, str, OptionTrade]] = field(default_factory=list)
    announcements: list[tuple[int, Announcement]] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    repeated: int = 0
    repeated_differing: int = 0
    _seen: dict[tuple[int, Feed], bytes] = field(default_factory=dict)

    def add(self, record: JournalRecord | DamagedLine) -> None:
        """Transform one record; what cannot be transformed is kept as bad with the reason."""
        if isinstance(record, DamagedLine):
            self.bad.append(BadRecord(record.offset, record.reason, record.content))
            return
        try:
            if record.kind == "gex":
                self._add_snapshot("live", record.body)
            elif record.kind == "uw":
                self._add_message(record)
            else:
                self.announcements.append((record.received_at_ms, _announcement.decode(record.body)))
        except (RecordError, msgspec.DecodeError) as error:
            self.bad.append(BadRecord(record.offset, str(error), record.body))
        except MemoryError:
            raise  # it may be another's fault than this record's
        except Exception as error:
            # One record must never hold up all that come after it, whatever it does to the code above.
            logger.exception("a record at byte %d could not be read", record.offset)
            self.bad.append(BadRecord(record.offset, f"{type(error).__name__}: {error}", record.body))

    def webhooks_table(self) -> pa.Table:
        """Return the messages as rows of `universal_webhooks`."""
        return pa.Table.from_pylist(self.webhooks, schema=WEBHOOKS_SCHEMA)

    def trades_table(self) -> pa.Table:
        """Return the option trades as rows of `option_trades_events`."""
        return trades_table(self.trades)

    def _add_snapshot(self, source: Literal["live", "uw"], body: bytes) -> None:
        snapshot = parse_snapshot(body)
        if snapshot.ticker is None:
            raise RecordError.of("ticker", "nothing", "a ticker such as SPX or NQ_NDX")
        feed = Feed(snapshot.ticker, snapshot.endpoint or DEFAULT_ENDPOINT)
        earlier = self._seen.setdefault((snapshot.timestamp_ms, feed), body)
        if earlier is not body:
            self.repeated += 1
            self.repeated_differing += earlier != body
            return
        self.snapshots[source].append(snapshot, feed)

    def _add_message(self, record: JournalRecord) -> None:
        message = parse_message(record.body)
        if message.is_control:
            return
        self.webhooks.append(
            {
                "received_at": record.received_at_ms,
                "topic": message.topic,
                "event": message.event,
                "payload": message.payload.decode(),
                "journal_segment": self.segment,
                "journal_offset": record.offset,
            }
        )
        if (snapshot := snapshot_payload(message)) is not None:
            self._add_snapshot("uw", snapshot)
        self.trades.extend((record.received_at_ms, message.topic, trade) for trade in trades(message))
