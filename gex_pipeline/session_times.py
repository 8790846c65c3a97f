"""When the exchange opens and closes, as JSON: `python -m gex_pipeline.session_times`."""

import os
import sys

import msgspec

from gex_pipeline.clock import epoch_ms
from gex_pipeline.trading_days import sessions_around


def main() -> None:
    """Print open and close (epoch ms UTC) of the session that closed last, and of those of the next two weeks."""
    os.nice(10)  # captures go first
    sys.stdout.buffer.write(msgspec.json.encode(sessions_around(epoch_ms())))


if __name__ == "__main__":
    main()
