"""A route that does nothing, on the gateway's server: `python -m gex_pipeline.bench.noop_route --port PORT`."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from gex_pipeline.settings import load_settings
from webhook_gateway.__main__ import listen, parser, run_server

app = FastAPI()


@app.post("/gex", status_code=202)
async def take(request: Request) -> dict[str, str]:
    """Read the body and forget it."""
    await request.body()
    return {"status": "ok"}


@app.get("/ready")
async def ready() -> Response:
    """Answer that it is up."""
    return Response(b"{}", media_type="application/json")


if __name__ == "__main__":
    settings = load_settings(**vars(parser().parse_args()))
    run_server(app, settings, listen(settings))
