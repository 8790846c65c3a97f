"""The allow list of history hosts: which URLs may be fetched."""

import re
from urllib.parse import SplitResult

from gex_pipeline.settings import LOOPBACK_HOSTS

_DEFAULT_PORTS = {"https": 443, "http": 80}
# Nothing that two readers of a URL could take for different hosts: no user name, escape, backslash or other script.
_PLAIN = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


def is_allowed_host(parts: SplitResult, allowed_hosts: tuple[str, ...]) -> bool:
    """Tell whether a URL may be fetched: https, an allowed `host` (default port) or `host:port`, no user name.

    Plain http is for loopback only, and loopback only when it is named.

    Raises:
        ValueError: the port is not a number.
    """
    host = (parts.hostname or "").lower()
    named = f"[{host}]" if ":" in host else host
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    port = default_port if parts.port is None else parts.port
    if default_port is None or not _PLAIN.fullmatch(parts.netloc):
        return False
    if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
        return False
    return f"{named}:{port}" in allowed_hosts or (port == default_port and named in allowed_hosts)
