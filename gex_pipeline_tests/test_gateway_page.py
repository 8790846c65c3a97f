"""The page's files: who gets them, how they are kept, and that they are part of what is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests

from gex_pipeline_tests.gateway_requests import KEY, get, problems
from gex_pipeline_tests.processes import GatewayProcess
from webhook_gateway.page_routes import FOLDER

ROOT = Path(__file__).parents[1]
FILES = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}


def test_the_page_is_served_without_the_key_and_tells_strangers_nothing(guarded: GatewayProcess) -> None:
    assert get(guarded, "/").headers["content-type"] == "text/html; charset=utf-8"
    assert get(guarded, "/page/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert get(guarded, "/page/settings").json() == {"needs_key": True}
    known = {"needs_key": True, "dagster_port": 3000, "dagster_url": None}
    assert get(guarded, "/page/settings", {"X-API-Key": KEY}).json() == known


def test_every_file_forbids_what_is_not_its_own(gateway: GatewayProcess) -> None:
    for name in FILES - {"index.html"} | {""}:
        answer = get(gateway, f"/page/{name}" if name else "/")
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_is_sent_again_only_when_it_changed(gateway: GatewayProcess) -> None:
    first = get(gateway, "/page/page.css")
    assert first.headers["cache-control"] == "no-cache"
    again = get(gateway, "/page/page.css", {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get(gateway, "/page/page.css", {"If-None-Match": '"another"'}).content == first.content


@pytest.mark.parametrize(
    "name", ["nothing.js", "", "index.html", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "vendor"]
)
def test_no_name_leads_to_anything_else(gateway: GatewayProcess, name: str) -> None:
    request = requests.Request("GET", f"{gateway.url}/page/").prepare()
    request.url = f"{gateway.url}/page/{name}"
    answer = requests.Session().send(request, timeout=30)
    assert answer.status_code == 404
    assert problems(answer)


def test_the_page_is_part_of_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"webhook_gateway/page/{name}" for name in FILES} <= packed
