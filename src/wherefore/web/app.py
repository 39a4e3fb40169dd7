"""The app: door, routes, page and worker, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from wherefore import __version__
from wherefore.types import Model
from wherefore.web import pages, problems
from wherefore.web.door import Door
from wherefore.web.measures import Measures
from wherefore.web.networks import Networks
from wherefore.web.routes import Service, explaining, telling
from wherefore.web.settings import Settings

ABOUT = (
    "Where a network looked and why it decided as it did. Pictures are sent as multipart/form-data; what is wrong is "
    'answered as {"error": "one sentence"}.'
)


def create_app(models: Mapping[str, Model], settings: Settings | None = None) -> FastAPI:
    """The demo page and the REST service over networks, by the names under which they can be asked, as an ASGI app.

        app = create_app({"mine": wf.Model(net, classes=names, preprocess=transform)})

    Nothing that comes in can name any other network. Raises `Error` for a network that cannot be explained.
    """
    settings, measures = settings or Settings(), Measures()
    service = Service(Networks(models), settings, measures)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.worker.start()
        yield
        service.worker.stop()  # when all that was admitted is answered
        service.hands.shutdown()

    app = FastAPI(
        title="wherefore", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    problems.install(app)
    app.include_router(explaining(service))
    app.include_router(telling(service, measures))
    app.include_router(pages.router(app, settings))
    app.add_middleware(Door, settings=settings, measures=measures, seconds=lambda: service.worker.seconds)
    return app
