"""What the browser is answered. Only who knows the token, which is in the address that is opened, gets an answer."""

import hmac
import tempfile
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeline.common.errors import SpectrumError
from pipeline.datasets.video_files import SUFFIXES
from pipeline.report.assets import read_asset
from pipeline.report.gallery import OUTCOMES
from pipeline.studio.browsing import Predictions
from pipeline.studio.session import Session

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
TOKEN = "x-studio-token"        # a header: no page of another origin can send it
_NAME = 200                     # characters of a clip's name that are shown
_ASSETS = {"studio.js": "text/javascript", "studio.css": "text/css", "attention.js": "text/javascript",
           "cards.js": "text/javascript", "style.css": "text/css"}

Answer = Callable[[Request], Awaitable[Response]]


def make_app(session: Session, predictions: Predictions | None, token: str, limit_megabytes: int) -> Starlette:
    """token: what the address and the header have to hold; limit_megabytes: of a clip."""

    def known(given: str) -> bool:
        return hmac.compare_digest(given.encode(), token.encode())

    def guarded(answer: Answer) -> Answer:
        async def answer_if_known(request: Request) -> Response:
            if not known(request.headers.get(TOKEN, "")):
                return _error("open the address that the terminal shows", 403)
            return await answer(request)
        return answer_if_known

    async def page(request: Request) -> Response:
        if not known(request.query_params.get("token", "")):
            return PlainTextResponse("Open the address that the terminal shows.", 403, HEADERS)
        return Response(_own_asset("studio.html"), media_type="text/html", headers=HEADERS)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            return PlainTextResponse("No such file.", 404, HEADERS)
        text = _own_asset(name) if name.startswith("studio") else read_asset(name)
        return Response(text, media_type=_ASSETS[name], headers=HEADERS)

    async def about(_: Request) -> Response:
        return _json({"models": [model.describe() for model in session.models], "megabytes": limit_megabytes,
                      "outcomes": OUTCOMES, "dataset": predictions.dataset if predictions else "",
                      "videos": predictions.overview if predictions else []})

    async def caption(request: Request) -> Response:
        name = request.query_params.get("name", "")[:_NAME] or "clip"
        chosen = [number for number in range(len(session.models))
                  if str(number) in request.query_params.getlist("model")] or [0]
        suffix = Path(name).suffix.lower()
        with tempfile.TemporaryDirectory(prefix="spectrum-studio-") as folder:
            # The clip's own name is never used for a file.
            path = Path(folder) / f"clip{suffix if suffix in SUFFIXES else ''}"
            try:
                if not await _receive(request, path, limit_megabytes << 20):
                    return _error(f"{name}: more than {limit_megabytes} MB; cut it, or caption it with "
                                  "`python -m stages.caption`", 413)
                return _json(await run_in_threadpool(session.caption, path, name, chosen))
            except ClientDisconnect:
                return _error("the browser went away", 400)
            except SpectrumError as error:
                return _error(str(error).replace(str(path), name), 422)

    async def video(request: Request) -> Response:
        name = request.query_params.get("id", "")
        card = predictions.card(name) if predictions else None
        if predictions is None or card is None:
            return _error(f"{name[:_NAME]}: no such video among the predictions", 404)
        path = predictions.file(name)
        frames = await run_in_threadpool(session.film_strip, path) if path else []
        return _json({**card, "frames": frames})

    return Starlette(
        routes=[Route("/", page), Route("/files/{name}", file), Route("/api/about", guarded(about)),
                Route("/api/video", guarded(video)), Route("/api/caption", guarded(caption), methods=["POST"])],
        # A name of another host that leads here is an attack from a page of that host.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])])


async def _receive(request: Request, path: Path, limit: int) -> bool:
    """Writes what is sent to `path`; False where it is more than `limit` bytes. The rest is read all the same: a
    browser does not look at an answer before it has sent everything."""
    size = 0
    with path.open("wb") as target:
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                target.write(part)
    return size <= limit


def _own_asset(name: str) -> str:
    return files("pipeline.studio").joinpath(name).read_text(encoding="utf-8")


def _json(value: Any) -> Response:
    return JSONResponse(value, headers=HEADERS)


def _error(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status, HEADERS)
