"""The allow list of history hosts: which URLs may be fetched."""

from urllib.parse import SplitResult

from gex_pipeline.settings import LOOPBACK_HOSTS

_DEFAULT_PORTS = {"https": 443, "http": 80}


def is_allowed_host(parts: SplitResult, allowed_hosts: tuple[str, ...]) -> bool:
    """Tell whether a URL may be fetched: https, an allowed `host` (default port) or `host:port`, no user name.

    Plain http is for loopback only, and loopback only when it is named.

    Raises:
        ValueError: the port is not a number.
    """
    host = (parts.hostname or "").lower()
    named = f"[{host}]" if ":" in host else host
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    port = parts.port or default_port
    if parts.username is not None or parts.password is not None or default_port is None:
        return False
    if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
        return False
    return f"{named}:{port}" in allowed_hosts or (port == default_port and named in allowed_hosts)
