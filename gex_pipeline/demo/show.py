"""`gex demo`: the whole system on loopback, fed a sample session, with a table of what landed where."""

import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from gex_pipeline.demo.evidence import Evidence, gather
from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.demo.live_flow import post_on
from gex_pipeline.demo.messages import option_trade_messages
from gex_pipeline.demo.progress import Address, DemoError, Parts, tell_when_up, wait_for
from gex_pipeline.demo.sessions import Session, snapshots, write_history_file
from gex_pipeline.feeds import Feed
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings, load_settings

HISTORY = Session(feed=Feed("NQ_NDX", "gex_zero"), date=dt.date(2025, 11, 14))
LIVE = Session(feed=Feed("SPX", "gex_zero"), date=HISTORY.date, snapshots=300, strikes=60, seed=1)
# Posted only while the demo waits to be stopped, together with what follows LIVE.
BESIDE_LIVE = Session(feed=Feed("NQ_NDX", "gex_full"), date=HISTORY.date, snapshots=300, seed=2)
LIVE_MESSAGES = 200
START_SECONDS = 120.0
IMPORT_SECONDS = 300.0
LOAD_SECONDS = 60.0
PLAIN_WIDTH = 150


@dataclass
class Sent:
    """What the demo posted and had acknowledged."""

    snapshots: int = 0
    messages: int = 0
    trades: int = 0
    history_records: int = 0
    request: dict[str, Any] = field(default_factory=dict)


def run_demo(*, keep_running: bool) -> int:
    """Run the demo in a scratch folder that is removed at the end.

    Args:
        keep_running: stay up after the table until Ctrl-C, so that the URLs can be looked at.

    Returns:
        0 when everything that was sent is where it belongs, 1 otherwise.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    # Ctrl-C and SIGTERM both unwind through the context managers below, also where a shell had SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="gex-demo-", ignore_cleanup_errors=True) as scratch:
        try:
            return _show(console, Path(scratch), keep_running=keep_running)
        except DemoError as error:
            console.print(f"[red]The demo failed:[/] {error}")
            _print_logs(console, Path(scratch))
            return 1
        except KeyboardInterrupt:
            console.print("stopped")
            return 0


def _show(console: Console, scratch: Path, *, keep_running: bool) -> int:
    files = scratch / "gexbot"
    files.mkdir()
    sent = Sent()
    with GexBotStandIn(files) as gexbot, Parts(console) as parts:
        settings = load_settings(
            data_dir=scratch / "data",
            host="127.0.0.1",
            port=_free_port(),
            dagster_port=_free_port(),
            history_hosts=gexbot.host,
        )
        with _system(scratch, settings, gexbot.host):
            gateway = f"http://127.0.0.1:{settings.port}"
            page, dagster_ui = _addresses(settings)
            with parts.part("start gateway and loader"):
                tell_when_up(console, page, START_SECONDS)
            with requests.Session() as client:
                with parts.part(f"post {LIVE.snapshots} live snapshots"):
                    for snapshot in snapshots(LIVE):
                        _accepted(client.post(f"{gateway}/gex", json=snapshot))
                        sent.snapshots += 1
                with parts.part(f"post {LIVE_MESSAGES} Unusual Whales messages"):
                    for message in islice(option_trade_messages(HISTORY.date), LIVE_MESSAGES):
                        _accepted(client.post(f"{gateway}/uw", json=message))
                        sent.messages += 1
                        sent.trades += 1
                with parts.part("write a session file of 23,400 x 100"):
                    name = f"{HISTORY.date}_{HISTORY.feed.ticker}_classic_{HISTORY.feed.endpoint}.json"
                    sent.history_records = write_history_file(files / name, HISTORY)
                with parts.part("start Dagster UI and daemon"):
                    tell_when_up(console, dagster_ui, START_SECONDS)
                with parts.part("announce the history file"):
                    answer = client.post(f"{gateway}/gex_history_url", json={"url": gexbot.signed_url(name)})
                    sent.request = _accepted(answer)
                request = f"{gateway}/gex_history_queue/{sent.request['id']}"
                with parts.part("import the file: queue, sensor, run") as tell:
                    wait_for(lambda: _is_finished(client, request, tell), IMPORT_SECONDS, "the import")
                with parts.part("load the rest of the journal"):
                    wait_for(lambda: _is_loaded(client, gateway), LOAD_SECONDS, "the loader")
                final = client.get(request).json()
            with parts.part("read back and compare"):
                evidence = gather(settings, Partition(HISTORY.feed, HISTORY.date), files / name, LIVE, final)
            parts.stop()
            disagreements = _report(console, settings, sent, parts.seconds, evidence)
            if keep_running:
                console.print(
                    "Everything keeps running and the session goes on; Ctrl-C stops it and removes the folder."
                )
                post_on(gateway, [LIVE, BESIDE_LIVE])
                signal.pause()
    return 1 if disagreements else 0


def _report(
    console: Console, settings: Settings, sent: Sent, seconds: Mapping[str, float], evidence: Evidence
) -> int:
    """Print the closing tables and return how many lines disagree."""
    disagreements = 0
    landed = Table("what", "sent", "landed", "", title="What was sent and what landed", title_justify="left")
    for line in evidence.comparisons(
        live_snapshots=sent.snapshots, messages=sent.messages, trades=sent.trades, records=sent.history_records
    ):
        disagreements += not line.agrees
        verdict = "[green]agrees[/]" if line.agrees else "[red]DISAGREES[/]"
        landed.add_row(line.what, line.expected, line.found, verdict)
    console.print(landed)
    checks = Table("asset", "check", "verdict", "found", title="Asset checks", title_justify="left")
    for check in evidence.checks:
        disagreements += not check.passed
        checks.add_row(check.asset, check.name, "[green]passed[/]" if check.passed else "[red]FAILED[/]", check.found)
    console.print(checks)
    times = Table("part", "seconds", title="How long it took", title_justify="left")
    for part, took in {**seconds, **evidence.step_seconds}.items():
        times.add_row(part, f"{took:.2f}")
    console.print(times)
    for address in _addresses(settings):
        console.print(address.line)
    console.print(f"the import run   http://127.0.0.1:{settings.dagster_port}/runs/{evidence.run_id}")
    console.print(f"gateway API      http://127.0.0.1:{settings.port}/openapi.json")
    console.print(f"history queue    http://127.0.0.1:{settings.port}/gex_history_queue")
    console.print(f"data             {settings.data_dir}")
    outcome = "Everything agrees." if not disagreements else f"{disagreements} lines disagree."
    console.print(f"[{'red' if disagreements else 'green'}]{outcome}[/]")
    return disagreements


def _addresses(settings: Settings) -> tuple[Address, Address]:
    gateway, ui = (f"http://127.0.0.1:{port}" for port in (settings.port, settings.dagster_port))
    return (
        Address("live page", f"{gateway}/?feed={LIVE.feed.key}", f"{gateway}/ready"),
        Address("Dagster UI", f"{ui}/assets/gex_snapshots", f"{ui}/server_info"),
    )


@contextmanager
def _system(scratch: Path, settings: Settings, history_host: str) -> Iterator[None]:
    """Run `gex up` on the scratch folder; everything it started is gone afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GEX_", "DAGSTER_HOME"))}
    environment |= {"GEX_HISTORY_HOSTS": history_host, "GEX_HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "gex_pipeline.cli", "up", "--data-dir", str(settings.data_dir)]
    command += ["--port", str(settings.port), "--dagster-port", str(settings.dagster_port)]
    with (scratch / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _is_finished(client: requests.Session, request: str, tell: Callable[[str], None]) -> bool:
    answer = client.get(request, timeout=10)
    if not answer.ok:
        return False
    state = answer.json()
    tell(state["status"])
    if state["status"] == "failed":
        raise DemoError(f"the import failed: {state['last_error']}")
    return bool(state["status"] == "completed")


def _is_loaded(client: requests.Session, gateway: str) -> bool:
    return bool(client.get(f"{gateway}/ready", timeout=10).json()["checks"]["backlog"]["bytes"] == 0)


def _accepted(answer: requests.Response) -> dict[str, Any]:
    if not answer.ok:
        raise DemoError(
            f"{answer.request.method} {answer.request.path_url} answered {answer.status_code}: {answer.text}"
        )
    return dict(answer.json())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _print_logs(console: Console, scratch: Path) -> None:
    for log in sorted([*scratch.glob("*.log"), *scratch.glob("data/logs/*.log")]):
        text = log.read_text(errors="replace")[-3000:]
        if text.strip():
            console.print(f"--- the end of {log.name}\n{text}", markup=False)
