"""The routes of REST: what is asked in a form, and what is told in JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from wherefore import __version__, told
from wherefore.explainer import Explainer
from wherefore.inputs import Input
from wherefore.options import method_options
from wherefore.registry import METHODS
from wherefore.subjects import Picture
from wherefore.telling import OF_PICTURE, Report
from wherefore.web import networks as nets
from wherefore.web.measures import TYPE, Measures
from wherefore.web.networks import Asked, Kind, Networks
from wherefore.web.problems import GONE, Problem, Refused
from wherefore.web.settings import Settings
from wherefore.web.uploads import KINDS, picture
from wherefore.web.worker import Job, Worker

T = TypeVar("T")
ENDED = "The thread of the networks is not running: start the service anew."
Short = Annotated[str, Field(max_length=200)]
Long = Annotated[str, Field(max_length=500)]
TOLD = "The network, its weights, the method, the layer, and the picture with its targets."
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "The picture is empty, damaged or a bomb, or the form cannot be read.",
        401: "The token is missing or wrong, where one is needed.",
        408: "The request took too long to arrive.",
        413: "The request is too large, or the picture has too many pixels.",
        415: f"The file is no picture that is read here ({KINDS}).",
        422: "What was asked cannot be done: a name that does not exist, a field that is missing or too long.",
        503: "The queue is full; Retry-After says in how many seconds to try again. Or the service must be restarted.",
    }.items()
}


class Form_(BaseModel):
    """What all questions have in common. Other fields are refused, so that no misspelt one is overlooked."""

    model_config = ConfigDict(extra="forbid")

    image: UploadFile = Field(description=f"The picture: {KINDS}, of which the first frame counts.")
    model: Short | None = Field(None, description="One that /v1/models lists; by default the first that can do it.")
    method: Short = Field("grad-cam", description="One that /v1/methods lists.")
    include: list[Literal["overlay", "map"]] = Field(
        [], description="overlay: with each target the picture under its map; map: with each its raw values."
    )


class Explain(Form_):
    """Which classes of a picture are to be explained."""

    target: list[Short] = Field(
        [], description="A class by name or index, or top5, or all; several times for several classes; 20 at most."
    )


class Caption(Form_):
    """Which caption of a picture is to be explained."""

    caption: Long | None = Field(None, description="Explain this one; by default what the network says itself.")
    word: list[Short] = Field([], description="Only this word of it; several times for several words.", max_length=20)


class Ask(Form_):
    """What is asked of a picture."""

    question: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="What is asked: what colour is the car?"
    )
    answer: list[Short] = Field([], description="Explain this one; by default the likeliest five.", max_length=20)


class Service:
    """The networks and those who work on them: one thread for the networks, two for pictures before and after."""

    def __init__(self, networks: Networks, settings: Settings, measures: Measures) -> None:
        self.networks, self.settings = networks, settings
        self.worker = Worker(settings.batch, settings.linger, measures.batch)
        self.hands = ThreadPoolExecutor(2, "wherefore-pictures")
        measures.watch("queue_length", "Requests that wait for a network.", lambda: len(self.worker))

    async def aside(self, do: Callable[[], T]) -> T:
        """What a function returns, run beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.hands, do)

    async def picture(self, form: Form_) -> Picture:
        """The picture that was sent, checked and decoded."""
        content, name = await form.image.read(), form.image.filename
        return await self.aside(lambda: picture(content, name, self.settings.most_pixels))

    def explainer(self, form: Form_, kind: Kind) -> Explainer:
        """What is to explain it."""
        return self.networks.explainer(form.model or self.networks.first(kind), form.method, kind)

    async def answer(self, request: Request, job: Job) -> Any:
        """What the worker makes of a job; it is dropped when the caller hangs up. Raises `Refused` then, and
        where nobody works."""
        if not self.worker.is_alive():
            raise Refused(503, ENDED)
        gone = asyncio.ensure_future(_gone(request))
        answer = asyncio.wrap_future(job.answer)
        try:
            self.worker.submit(job)
            await asyncio.wait({gone, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Refused(GONE, "The caller hung up.")
            return answer.result()
        finally:
            gone.cancel()
            self.worker.drop(job)


async def _gone(request: Request) -> None:
    """Returns when the caller has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def explaining(service: Service) -> APIRouter:
    """The routes that explain pictures."""
    router = APIRouter(prefix="/v1", responses=REFUSALS, tags=["explain"])

    @router.post("/explain", summary="Where the network saw evidence for classes", response_description=TOLD)
    async def explain(request: Request, form: Annotated[Explain, Form(media_type="multipart/form-data")]) -> Response:
        """What `wherefore explain --json` prints of one picture: for each target its score, its probability, how much
        evidence its map holds, its peak and its box in pixels of the picture."""
        why = service.explainer(form, "classes")
        target = nets.targets(form.target, why.model)
        shown = await service.picture(form)
        fed: Input = await service.aside(lambda: why.prepare(shown))
        asked = Asked(fed, target)
        kind = (why.model.name, why.method, fed.tensor.shape, asked.form)
        found = await service.answer(request, Job((id(why), *kind), lambda every: nets.explained(why, every), asked))
        return JSONResponse(await service.aside(lambda: found.report(form.include)))

    @router.post(
        "/caption",
        summary="What the network says of a picture, and where it looked for each word",
        response_description=TOLD,
    )
    async def caption(request: Request, form: Annotated[Caption, Form(media_type="multipart/form-data")]) -> Response:
        """What `wherefore caption --json` prints of one picture: the caption, its map (`whole`), and as targets its
        words."""
        why, shown = service.explainer(form, "captions"), await service.picture(form)
        return await tell(request, form, shown, lambda: told.captioned(why, shown, form.caption, form.word, fine=False))

    @router.post(
        "/ask",
        summary="The answer to a question about a picture, and where the network looked for it",
        response_description=TOLD,
    )
    async def ask(request: Request, form: Annotated[Ask, Form(media_type="multipart/form-data")]) -> Response:
        """What `wherefore ask --json` prints of one picture: the answer, how likely it is, and as targets the likeliest
        answers."""
        why, shown = service.explainer(form, "answers"), await service.picture(form)
        return await tell(
            request, form, shown, lambda: told.answered(why, shown, form.question, form.answer, fine=False)
        )

    async def tell(request: Request, form: Form_, shown: Picture, do: Callable[[], Any]) -> Response:
        """What was said of a picture, in a turn of its own: what is said of two pictures has no words in common."""
        said = await service.answer(request, Job(object(), lambda every: [each() for each in every], do))

        def report() -> Report:
            measured = said.report(lambda e, kind="": nets.measured(e, kind, 0, form.include, "common"))
            origin = {k: v for k, v in said.origin().items() if k not in OF_PICTURE}
            return {**origin, "images": [{"image": shown.name, **measured}]}

        return JSONResponse(await service.aside(report))

    return router


def telling(service: Service, measures: Measures) -> APIRouter:
    """The routes that say what there is."""
    router = APIRouter(tags=["about"])
    models, methods, limits = service.networks.report(), _methods(), service.settings
    needed: dict[int | str, dict[str, Any]] = {401: REFUSALS[401]}

    @router.get("/v1/models", responses=needed, summary="The networks that can be asked")
    async def list_models() -> list[dict[str, Any]]:
        """Their names, what each gives (classes, captions, answers), its classes, the sha256 of its weights."""
        return models

    @router.get("/v1/methods", responses=needed, summary="The methods of explanation")
    async def list_methods() -> list[dict[str, Any]]:
        """What each shows, the paper that it is from, what it costs."""
        return methods

    ended: dict[int | str, dict[str, Any]] = {503: {"model": Problem, "description": ENDED}}

    @router.get("/v1/health", responses=ended, summary="Whether the service is well, and its limits")
    async def health() -> dict[str, Any]:
        """Always without a token."""
        if not service.worker.is_alive():
            raise Refused(503, ENDED)
        return {
            "status": "ok",
            "version": __version__,
            "queue": limits.queue,
            "waiting": len(service.worker),
            "most_bytes": limits.most_bytes,
            "most_pixels": limits.most_pixels,
        }

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        """Requests by route and status, how long they took, the queue, the sizes of batches, the process's memory."""
        return Response(measures.page(), media_type=TYPE)

    return router


def _methods() -> list[dict[str, Any]]:
    """What callers must know of each method."""
    return [
        {
            "method": name,
            "what": entry.summary,
            "source": entry.about["paper"],
            "cost": entry.about["cost"],
            "options": method_options(name),
        }
        for name, entry in METHODS.items()
    ]
