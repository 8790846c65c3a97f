"""The text of a message: what it is, why, and what to do."""

import re
import socket
from itertools import groupby

from gex_pipeline.alerts.conditions import CONDITIONS
from gex_pipeline.alerts.telling import News, condition_of

_LONGEST_REASON = 300
# What follows a question mark may be a signature, what precedes an @ a password.
_SECRET_PARTS = re.compile(r"(?<=://)[^\s/@]+@|\?\S+")


def compose(news: list[News]) -> list[tuple[str, str]]:
    """Return a title and a text for each condition that there is news of; feeds of one moment share a message."""
    kinds = groupby(sorted(news, key=_kind), _kind)
    return [_message(name, is_over, list(members)) for (name, is_over), members in kinds]


def without_secrets(text: str) -> str:
    """Return a text on one line, bounded, without the parts of URLs that may be secret."""
    line = _SECRET_PARTS.sub("", " ".join(text.split()))
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


def _kind(news: News) -> tuple[str, bool]:
    return condition_of(news.key), news.reason is None


def _message(name: str, is_over: bool, members: list[News]) -> tuple[str, str]:
    condition = CONDITIONS[name]
    where = socket.gethostname()
    if is_over:
        subjects = [each.key.partition(" ")[2] for each in members]
        text = ", ".join(subject for subject in subjects if subject)
        return f"Over: {condition.over}", "\n".join(part for part in (text, f"On {where}.") if part)
    reasons = "\n".join(without_secrets(str(each.reason)) for each in members)
    to_do = f"{condition.to_do}\nOn {where}; more in docs/alerts.md under {name}."
    return f"Alert: {condition.title}", f"{reasons}\n{to_do}"
