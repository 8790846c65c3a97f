"""The state of every day that is stored, as JSON: `python -m gex_pipeline.audit`."""

import argparse
import os
import sys

import msgspec

from gex_pipeline.audit.coverage import find_coverage
from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError
from gex_pipeline.settings import load_settings


def parser() -> argparse.ArgumentParser:
    """Return the command line's flags."""
    return argparse.ArgumentParser(prog="python -m gex_pipeline.audit", description=__doc__)


def main() -> int:
    """Print a list of all days, as `GET /coverage` answers, by feed and date."""
    parser().parse_args()
    os.nice(10)  # captures go first
    try:
        found = find_coverage(load_settings(), (), None, None, epoch_ms())
    except GexError as error:
        sys.stderr.write(f"audit: {error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.json.encode([day.public() for day in found.days]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
