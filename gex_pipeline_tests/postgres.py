"""A PostgreSQL server of its own on loopback, where one is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gex_pipeline_tests.processes import free_port, wait_until

PASSWORD = "password-of-this-test"  # noqa: S105 - what must not show anywhere


def postgres_programs() -> Path | None:
    """Return the folder of the server's programs, None when there is none."""
    if server := shutil.which("postgres"):
        return Path(server).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server that forgets everything at the end; give the address of its database."""
    programs, port = postgres_programs(), free_port()
    assert programs is not None
    # The server refuses to be root's, and whoever it is then must get at the folder.
    as_whom: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="gex-postgres-"))
    data = folder / "data"
    try:
        if as_whom:
            shutil.chown(folder, **as_whom)
        make: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "gex",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
        ]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **as_whom)
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                **as_whom,
            ) as server,
        ):
            try:
                ask: list[str | Path] = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
                wait_until(lambda: subprocess.run(ask, check=False).returncode == 0, 60)
                yield f"postgresql://gex:{PASSWORD}@127.0.0.1:{port}/postgres"
            finally:
                server.kill()  # nothing of it is needed any more
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
