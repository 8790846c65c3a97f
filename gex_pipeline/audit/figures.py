"""What is known of one trading day of one feed: in the database, in Parquet, in the lineage."""

from dataclasses import dataclass, field

from gex_pipeline.history.paths import Partition


@dataclass(frozen=True)
class StoredDay:
    """What the database holds of a day; times are epoch milliseconds UTC, None without snapshots.

    Attributes:
        snapshots: of the whole New York day.
        in_session: those of them from the open to the close.
        longest_gap_ms: between two in the session; None with fewer than two.
        usual_step_ms: the median time between two in the session; None with fewer than two.
        sources: `live`, `history`, `uw`, or `legacy` for rows that were there before this system.
    """

    snapshots: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    in_session: int = 0
    opened_ms: int | None = None
    closed_ms: int | None = None
    longest_gap_ms: int | None = None
    usual_step_ms: float | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedDay:
    """What the footers of a day's two Parquet files say.

    Attributes:
        snapshots: None when that file is missing or cannot be read; strikes as well.
        first_ms: epoch milliseconds UTC, of the snapshots; None where the file's statistics do not say it.
        last_ms: as `first_ms`.
        problem: why the two files are not both to be read; empty when they are.
    """

    snapshots: int | None
    strikes: int | None
    first_ms: int | None
    last_ms: int | None
    problem: str = ""


@dataclass(frozen=True)
class ImportedDay:
    """What the lineage says of a day's history files.

    Attributes:
        outcome: of the last attempt: `imported`, `unchanged`, `replaced`, `refused` or `failed`.
        errors: why that was refused or failed, else None.
        snapshots: in the largest file that was imported, whoever recorded them first.
        differing: stored snapshots about which imported files say otherwise, and that were not replaced.
        hashes: the SHA-256 of the files that were imported.
        had_file: whether there was a file in any attempt; otherwise none could be downloaded.
    """

    outcome: str
    errors: str | None = None
    snapshots: int = 0
    differing: int = 0
    hashes: frozenset[str] = field(default_factory=frozenset)
    had_file: bool = True


@dataclass(frozen=True)
class DayFigures:
    """All that is known of one partition.

    Attributes:
        stored: None when the database could not be looked into.
        published: None when no Parquet file is there.
        imported: None when no history file was tried, or the database could not be looked into.
        has_file: whether its history file is in `data/source/`.
        is_absent: GexBot said that it has no such day.
        conflict_reports: reports of what history files say otherwise, replaced since or not.
    """

    partition: Partition
    stored: StoredDay | None = None
    published: PublishedDay | None = None
    imported: ImportedDay | None = None
    has_file: bool = False
    is_absent: bool = False
    conflict_reports: int = 0

    @property
    def snapshots(self) -> int:
        """How many there are: in the database or, where nobody could look into it, in Parquet."""
        return self.stored.snapshots if self.stored else self.parquet_snapshots

    @property
    def parquet_snapshots(self) -> int:
        """How many there are in Parquet; 0 where that cannot be read."""
        return (self.published.snapshots if self.published else None) or 0

    @property
    def bounds_ms(self) -> tuple[int | None, int | None]:
        """The times of the first and the last of `snapshots`, epoch milliseconds UTC."""
        where = self.stored or self.published
        return (where.first_ms, where.last_ms) if where else (None, None)
