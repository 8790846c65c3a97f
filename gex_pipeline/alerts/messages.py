"""The text of a message: what it is, why, and what to do."""

import re
import socket
from itertools import groupby

from gex_pipeline.alerts.conditions import CONDITIONS
from gex_pipeline.alerts.telling import News, condition_of
from gex_pipeline.trading_days import new_york_time

_LONGEST_REASON = 300
# What follows a question mark may be a signature, what precedes an @ a password.
_SECRET_PARTS = re.compile(r"(?<=://)[^\s/@]+@|\?\S+")


def compose(news: list[News], now_ms: int) -> list[tuple[str, str]]:
    """Return a title and a text for each condition that there is news of; feeds of one moment share a message."""
    where = f"{socket.gethostname()}, {new_york_time(now_ms):%Y-%m-%d %H:%M:%S} New York"
    kinds = groupby(sorted(news, key=_kind), _kind)
    return [_message(name, is_over, list(members), where) for (name, is_over), members in kinds]


def without_secrets(text: str) -> str:
    """Return a text on one line, bounded, without the parts of URLs that may be secret."""
    line = _SECRET_PARTS.sub("", " ".join(text.split()))
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


def _kind(news: News) -> tuple[str, bool]:
    return condition_of(news.key), news.reason is None


def _message(name: str, is_over: bool, members: list[News], where: str) -> tuple[str, str]:
    condition = CONDITIONS[name]
    if is_over:
        subjects = ", ".join(filter(None, (each.key.partition(" ")[2] for each in members)))
        return f"Over: {condition.over}", f"{subjects}\n{where}".lstrip()
    reasons = "\n".join(without_secrets(str(each.reason)) for each in members)
    return f"Alert: {condition.title}", f"{reasons}\n{condition.to_do}\n{where}; see {name} in docs/alerts.md"
