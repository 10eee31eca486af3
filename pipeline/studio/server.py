"""A free port of this machine, and the app on it until Ctrl-C."""

import secrets
import socket
from collections.abc import Callable

import uvicorn

from pipeline.studio.app import make_app
from pipeline.studio.browsing import Predictions
from pipeline.studio.session import Session

HOST = "127.0.0.1"      # other machines cannot reach it


def serve(session: Session, predictions: Predictions | None, limit_megabytes: int, port: int,
          announce: Callable[[str], None]) -> None:
    """port: 0 for a free one; `announce` is told the address once it is answered."""
    token = secrets.token_urlsafe(16)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        announce(f"http://{HOST}:{listening.getsockname()[1]}/?token={token}")
        app = make_app(session, predictions, token, limit_megabytes)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listening])
