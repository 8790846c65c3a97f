"""The gateway with its loader: `python -m webhook_gateway`."""

import argparse
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from gex_pipeline.errors import GexError
from gex_pipeline.logs import configure_logging
from gex_pipeline.settings import Settings, SettingsError, load_settings, require_writable
from webhook_gateway.app import captures_first, create_app
from webhook_gateway.connections import connection_protocol
from webhook_gateway.counters import CONNECTIONS, counted
from webhook_gateway.draining import DrainingServer

GRACE_SECONDS = 9
BACKLOG = 2048
# Between turns of Python threads, so that captures hardly wait for those who write answers to readers.
SWITCH_SECONDS = 0.001

logger = logging.getLogger("webhook_gateway")


def main() -> int:
    """Read the flags, take the port and serve until SIGTERM or SIGINT."""
    try:
        settings = load_settings(**vars(parser().parse_args()))
        require_writable(settings.journal_dir)
        if settings.log_dir is not None:
            require_writable(settings.log_dir)
        require_certificate(settings)
        listener = listen(settings)
    except SettingsError as error:
        sys.stderr.write(f"webhook_gateway: {error}\n")
        return 2
    configure_logging(settings, "gateway")
    try:
        serve(settings, listener)
    except GexError as error:
        sys.stderr.write(f"webhook_gateway: {error}\n")
        return 1
    return 0


def require_certificate(settings: Settings) -> None:
    """Read the certificate and its key, when they are set, before anything else is started.

    Raises:
        SettingsError: they cannot be read or do not belong together.
    """
    if settings.ssl_certfile is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.ssl_certfile, settings.ssl_keyfile
        )
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(
            f"GEX_SSL_CERTFILE={settings.ssl_certfile} cannot be used with its key: {reason}"
        ) from error


def listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is started.

    Raises:
        SettingsError: it is in use or not allowed, or the host is not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise SettingsError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
    return listener


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on a listening socket until a signal; requests under way are answered before it returns."""
    scheme = "https" if settings.ssl_certfile else "http"
    host, port = listener.getsockname()[:2]
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    app = create_app(settings, url=f"{scheme}://{f'[{own}]' if ':' in own else own}:{port}")
    logger.info("captures go to %s; listening on %s://%s:%d", settings.journal_dir, scheme, host, port)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what was loaded stays; looking through it for garbage would stop captures for 60 ms each time
    run_server(counted(captures_first(app), app), settings, listener, app.state.streams.close)


def run_server(
    app: ASGIApp, settings: Settings, listener: socket.socket, end_streams: Callable[[], None] | None = None
) -> None:
    """Run the web server for an application until a signal, at which answers without an end are told to end."""
    config = uvicorn.Config(
        app,
        http=connection_protocol(settings),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.timeout_keep_alive,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    # The server raises the signal again when it is done; this end is a clean one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = DrainingServer(config, end_streams)
    CONNECTIONS.set_function(lambda: len(server.server_state.connections))
    server.run(sockets=[listener])


def parser() -> argparse.ArgumentParser:
    """Return the command line's flags."""
    flags = argparse.ArgumentParser(prog="python -m webhook_gateway", description=__doc__)
    flags.add_argument("--host", help="address to listen on (127.0.0.1)")
    flags.add_argument("--port", help="port to listen on (8877)")
    flags.add_argument("--data-dir", type=Path, help="folder of the journal and the database (data)")
    flags.add_argument("--log-level", help="debug, info, warning or error (info)")
    flags.add_argument("--log-dir", type=Path, help="folder for gateway.log and loader.log")
    flags.add_argument("--timeout-keep-alive", metavar="SECONDS", help="idle connections are closed (75)")
    flags.add_argument("--ssl-certfile", type=Path, help="certificate chain, PEM")
    flags.add_argument("--ssl-keyfile", type=Path, help="its private key, PEM")
    return flags


if __name__ == "__main__":
    sys.exit(main())
