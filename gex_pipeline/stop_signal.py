"""How a child process learns that it is to stop."""

import select
import signal
import socket


class StopSignal:
    """SIGTERM, SIGINT, and on request the end of standard input, which comes when the parent is gone."""

    def __init__(self, *, watch_input: bool) -> None:
        """Take the signals over, for the whole process."""
        self._wake, signals = socket.socketpair()
        signals.setblocking(False)
        signal.set_wakeup_fd(signals.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._signals = signals
        self._watched = [self._wake.fileno(), *([0] if watch_input else [])]
        self.is_set = False

    def wait(self, seconds: float) -> None:
        """Sleep, or wake at once to stop."""
        if not self.is_set:
            self.is_set = bool(select.select(self._watched, [], [], seconds)[0])
