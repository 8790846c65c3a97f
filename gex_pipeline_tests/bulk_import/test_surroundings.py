"""`gex import` on a terminal, and while somebody holds the database."""

import os
import pty
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from gex_pipeline_tests.bulk_import.command import NOISE, OURS, UNSAID, assert_whole, command, run, write
from gex_pipeline_tests.processes import child, clean_environment

HOLDER = """
import duckdb
with duckdb.connect(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_terminal_gets_a_bar_and_a_line_only_for_what_went_wrong(tmp_path: Path) -> None:
    for key in (OURS, UNSAID):
        write(tmp_path / "two" / f"{key[:10]}_SPX.json", key)
    (tmp_path / "two" / "notes.json").touch()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("two"),
        env=clean_environment(GEX_DATA_DIR="data", TERM="xterm-256color", COLUMNS="100"),
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux says so when the other end is closed
            while some := os.read(ours, 65536):
                shown += some
        os.close(ours)
    text = shown.decode()
    assert process.returncode == 1
    assert "━" in text
    assert "3/3" in text
    assert "refused two/notes.json: its name does not say" in text
    assert "imported two" not in text
    assert "2 imported, 0 skipped, 1 refused, 0 failed" in text
    assert not [word for word in NOISE if word in text], text


def test_a_database_that_is_held_for_some_seconds_only_delays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "2025-11-25_SPX.json", "2025-11-25|SPX:gex_zero")
    began = time.monotonic()
    with child(HOLDER, tmp_path / "data" / "gex_data.db", 5):
        told = run(tmp_path, "2025-11-25_SPX.json")
    assert (told.code, told.summary) == (0, "1 imported, 0 skipped, 0 refused, 0 failed")
    assert time.monotonic() - began > 5
    assert_whole(tmp_path, {"2025-11-25|SPX:gex_zero"})
