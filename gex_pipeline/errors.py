"""The error tree: what went wrong, whether trying again can help, and what the reader can do."""

import re
from dataclasses import dataclass
from textwrap import shorten

_QUERY_STRING = re.compile(r"(https?://[^\s?]*)\?\S*")
_POSITION = re.compile(r"\.\d+")
_USER = re.compile(r"://[^\s/@]*@")


class GexError(Exception):
    """Base of every error this project raises on purpose; its text is safe to show and log.

    Attributes:
        details: short facts about it, for the metadata of a run that fails; as safe to show.
    """

    def __init__(self, text: str = "", **details: str | int) -> None:
        """Keep the facts beside the text."""
        super().__init__(text)
        self.details = details


class PermanentError(GexError):
    """Trying the same thing again cannot help."""


class TransientError(GexError):
    """The same thing may succeed later."""


class LeaseTimeoutError(TransientError):
    """The database file was held by somebody else for longer than the caller would wait."""


class DiskFullError(TransientError):
    """There is no room on a disk; there may be when somebody has freed some."""


class JournalUnavailableError(TransientError):
    """A record could not be made durable; it must not be acknowledged."""


class DownloadInterruptedError(TransientError):
    """A download failed in a way that another attempt may cure."""


class SourceUnavailableError(PermanentError):
    """There is nowhere to take a history file from, or the source refuses it."""


class NoSourceError(SourceUnavailableError):
    """Nothing says where to take a history file from: nobody was asked."""


class MalformedFileError(PermanentError):
    """A history file is not a whole document of snapshots."""


class DamagedDatabaseError(PermanentError):
    """The database file is not what DuckDB wrote, or was written by a later DuckDB."""


class BackupError(PermanentError):
    """A backup could not be made or restored, or is not what its manifest says."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with a payload.

    Attributes:
        field: dotted path, `strikes.3.0`; empty for the payload as a whole.
        value: short rendering of what was sent, at most 80 characters.
        expected: what would have been accepted.
    """

    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        """Render as one line for logs and quarantine files."""
        return f"{self.field or 'payload'}: got {self.value}, expected {self.expected}"


class RecordError(PermanentError):
    """A record that cannot be understood; `problems` says why, field by field."""

    def __init__(self, *problems: FieldProblem) -> None:
        """Keep the problems and join them for the message."""
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems

    @property
    def kind(self) -> str:
        """What is wrong, in one short line that is the same for other values and positions in lists."""
        kinds = (f"{_POSITION.sub('', each.field) or 'payload'}: expected {each.expected}" for each in self.problems)
        return shorten("; ".join(dict.fromkeys(kinds)), 200, placeholder=" ...")

    @classmethod
    def of(cls, field: str, value: object, expected: str) -> "RecordError":
        """Build the error for one field, shortening the value."""
        try:
            rendered = value if isinstance(value, str) else repr(value)
        except RecursionError:
            rendered = f"a deeply nested {type(value).__name__}"
        return cls(FieldProblem(field, rendered if len(rendered) <= 80 else rendered[:77] + "...", expected))


def without_secrets(text: str) -> str:
    """Return a text whose URLs have neither query string nor user and password."""
    return _USER.sub("://", _QUERY_STRING.sub(r"\1", text))
