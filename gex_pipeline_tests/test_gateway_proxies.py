"""Whom a rate limit counts: the address that connects, or behind a trusted proxy the one that it names."""

from pathlib import Path

from gex_pipeline_tests.gateway_requests import SNAPSHOT, post
from gex_pipeline_tests.processes import GatewayProcess, running_gateway


def status_for(gateway: GatewayProcess, forwarded_for: str) -> int:
    return post(gateway, "/gex", SNAPSHOT, x_forwarded_for=forwarded_for).status_code


def test_behind_a_trusted_proxy_each_client_has_its_own_share(tmp_path: Path) -> None:
    settings = {"GEX_RATE_LIMIT_GEX": "1/hour", "GEX_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    with running_gateway(tmp_path / "data", **settings) as gateway:
        assert status_for(gateway, "198.51.100.1") == 202
        assert status_for(gateway, "198.51.100.2") == 202
        assert status_for(gateway, "198.51.100.1") == 429
        assert status_for(gateway, "198.51.100.2, 10.1.2.3") == 429
        assert status_for(gateway, "203.0.113.9, 198.51.100.2") == 429  # what a client claims itself stands first


def test_a_client_cannot_name_itself_to_get_another_share(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "data", GEX_RATE_LIMIT_GEX="1/hour", FORWARDED_ALLOW_IPS="*") as gateway:
        assert status_for(gateway, "198.51.100.1") == 202
        assert status_for(gateway, "198.51.100.2") == 429
