"""`gex import` on a terminal, beside a gateway that captures, and while somebody holds the database."""

import os
import pty
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import requests

from gex_pipeline_tests.bulk_import.command import (
    MANY,
    NOISE,
    OURS,
    SNAPSHOTS,
    UNSAID,
    assert_whole,
    command,
    query,
    run,
    stored,
    write,
)
from gex_pipeline_tests.processes import child, clean_environment, running_gateway

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
    with child(HOLDER, tmp_path / "data" / "gex_data.db", 2):
        told = run(tmp_path, "2025-11-25_SPX.json")
    assert (told.code, told.summary) == (0, "1 imported, 0 skipped, 0 refused, 0 failed")
    assert time.monotonic() - began > 2
    assert_whole(tmp_path, {"2025-11-25|SPX:gex_zero"})


def test_files_are_imported_while_captures_come_in_and_none_of_either_is_lost(many: Path, undisturbed: Path) -> None:
    few = {key for key in MANY if key < "2025-11-07"}
    for path in (many / "many").iterdir():
        if path.name > "2025-11-07":
            path.unlink()
    stop, sent = threading.Event(), 0
    with running_gateway(many / "data") as gateway:

        def capture() -> None:
            nonlocal sent
            with requests.Session() as session:
                while not stop.wait(0.02):
                    snapshot = {
                        "timestamp": 1_763_130_600 + sent,
                        "ticker": "LIVE",
                        "spot": 1,
                        "strikes": [[5, 1, 2]],
                    }
                    assert session.post(f"{gateway.url}/gex", json=snapshot, timeout=30).status_code == 202
                    sent += 1

        client = threading.Thread(target=capture)
        client.start()
        try:
            told = run(many, "many")
        finally:
            stop.set()
            client.join()
        gateway.wait_until_loaded()
    assert (told.code, told.summary) == (0, f"{len(few)} imported, 0 skipped, 0 refused, 0 failed")
    assert sent > 10
    live = "FROM gex_snapshots WHERE ticker = 'LIVE'"
    assert query(many, f"SELECT count(*), count(DISTINCT timestamp) {live}") == [(sent, sent)]
    history = [row for row in stored(many)["snapshots"] if row[1] == "SPX"]
    assert history == stored(undisturbed)["snapshots"][: len(few) * SNAPSHOTS]
    assert_whole(many, few)
