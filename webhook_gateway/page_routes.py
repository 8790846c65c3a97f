"""The live page: static files that hold no data, and the little that it cannot find out elsewhere."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from webhook_gateway.bodies import has_key, json_response
from webhook_gateway.state import gateway_of

FOLDER = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Every file is asked for again and answered 304, so that nobody sees a mixture of two versions.
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

router = APIRouter(include_in_schema=False)


def _read_files() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Return every file by the path it is served at, with its headers."""
    files = {}
    for file in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        content = file.read_bytes()
        headers = {
            "content-type": f"{_TYPES.get(file.suffix, 'text/plain')}; charset=utf-8",
            "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }
        name = file.relative_to(FOLDER).as_posix()
        files["/" if name == "index.html" else f"/page/{name}"] = content, _HEADERS | headers
    return files


_FILES = _read_files()
OPEN_PATHS = frozenset({*_FILES, "/page/settings"})


@router.get("/page/settings")
async def page_settings(request: Request) -> Response:
    """Tell the page whether it has to ask for the key and, when it has sent it, where the Dagster UI is."""
    settings = gateway_of(request).settings
    known = {"dagster_port": settings.dagster_port, "dagster_url": settings.dagster_url}
    shown = known if has_key(request, settings.api_key) else {}
    return json_response({"needs_key": settings.api_key is not None, **shown})


@router.get("/page/sessions")
async def page_sessions(request: Request) -> Response:
    """Tell the page when the exchange opens and closes: pairs of epoch milliseconds, none when it is not known."""
    return json_response(await gateway_of(request).session_times.find())


@router.get("/")
@router.get("/page/{name:path}")
async def show_page(request: Request) -> Response:
    """Serve a file of the page; by its name in a fixed list, so that no name leads anywhere else."""
    found = _FILES.get(request.url.path)
    if found is None:
        raise HTTPException(404)
    content, headers = found
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(None, 304, headers)
    return Response(content, headers=headers)
