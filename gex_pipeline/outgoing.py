"""Requests to other machines: to public addresses only, and without anything secret in what is said of them."""

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from gex_pipeline.errors import PermanentError
from gex_pipeline.settings import LOOPBACK_HOSTS

# Its warnings and debug messages hold whole URLs, signatures included.
logging.getLogger("urllib3").setLevel(logging.ERROR)


def shown(url: str) -> str:
    """Return a URL without its query string and user name."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def guarded_session() -> requests.Session:
    """Make a session that reads no proxy or netrc settings and checks every address it really connects to."""
    session = requests.Session()
    session.trust_env = False
    adapter = _GuardedAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _GuardedAdapter(HTTPAdapter):
    """Connects to public addresses only, whatever a name resolves to by then; to loopback only by its own name."""

    def __init__(self) -> None:
        super().__init__()

        def check(sock: socket.socket, host: str) -> socket.socket:
            address = ipaddress.ip_address(sock.getpeername()[0])
            if address.is_global or (address.is_loopback and host.strip("[]") in LOOPBACK_HOSTS):
                return sock
            sock.close()
            raise PermanentError(f"the host resolves to {address}, which is not a public address")

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return check(super()._new_conn(), self.host)

        class SecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return check(super()._new_conn(), self.host)

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
