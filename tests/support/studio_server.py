"""A studio of the tiny project's captioner and baseline, in a thread of the test's own process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from pipeline.params import load
from pipeline.params.paths import Paths
from pipeline.studio.app import make_app
from pipeline.studio.browsing import Predictions
from pipeline.studio.session import Session
from stages.studio import _open, _own

TOKEN = "a-token"
LIMIT = 4       # megabytes of a clip


@dataclass(frozen=True)
class Studio:
    address: str
    session: Session


@contextmanager
def run_studio(project: Path) -> Iterator[Studio]:
    """The current folder is the project's as long as it runs."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listening:
        patch.chdir(project)
        params = load()
        session = Session(_open(_own(params)))
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        app = make_app(session, Predictions.read(params, Paths.of(params)), TOKEN, LIMIT)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Studio(f"http://127.0.0.1:{listening.getsockname()[1]}", session)
        finally:
            server.should_exit = True
            thread.join()
            session.close()
