"""Whether what should come in is coming in, by the hours of the session."""

from collections.abc import Sequence

from gex_pipeline.history.verdicts import Verdict, clock, markdown
from gex_pipeline.live.stored import Sender


def fresh(senders: Sequence[Sender], now_ms: int, opened_ms: int | None, limit_minutes: float) -> Verdict:
    """While a session is on, whoever has sent since the trading day before has sent lately.

    Args:
        senders: who has.
        now_ms: epoch milliseconds UTC.
        opened_ms: when the session that is on was opened, the same; None while none is.
        limit_minutes: so long may a sender be silent; 0 for ever.
    """
    ages = {each.name: (now_ms - max(each.newest_ms, opened_ms or now_ms)) / 60_000 for each in senders}
    silent = [each for each in senders if opened_ms is not None and 0 < limit_minutes <= ages[each.name]]
    found = f"{len(silent)} of {len(senders)} were silent for {limit_minutes:g} minutes or more"
    return Verdict(
        not silent,
        "no session is on" if opened_ms is None else found if senders else "nobody has sent anything lately",
        {"senders": len(senders), "silent": len(silent)},
        markdown(
            ("silent", "minutes of the session", "newest"),
            [(each.name, f"{ages[each.name]:.1f}", clock(each.newest_ms)) for each in silent[:20]],
        ),
    )
