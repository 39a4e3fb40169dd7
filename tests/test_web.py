"""The service: what it answers is what the library says, whoever asks at the same time; what is bad is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import socket
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wherefore as wf
from fixtures_web import SVG, bomb, chunk, drawn, png, scans, sent, served
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.saving import jpeg
from wherefore.scenes import scene

pytest.importorskip("fastapi", reason="needs the extra serve")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette's, on which client it would rather have
    from fastapi.testclient import TestClient
    from starlette.applications import Starlette
    from starlette.routing import Mount

from wherefore import listening
from wherefore.web import networks, pages, running
from wherefore.web.app import create_app
from wherefore.web.settings import VARIABLE, Settings, token
from wherefore.web.uploads import picture
from wherefore.web.worker import Job, Worker

NAMES = ("scenes:vgg", "scenes:captioner", "scenes:vqa")
TOKEN = "a-token-of-enough-letters"


@pytest.fixture(scope="module")
def models() -> dict[str, wf.Model]:
    return {name: wf.load(name) for name in NAMES}


@pytest.fixture(scope="module")
def client(models: dict[str, wf.Model]) -> Iterator[TestClient]:
    with TestClient(create_app(models)) as client:
        yield client


def ask(client: TestClient, route: str = "explain", image: bytes | None = None, **fields: Any) -> Any:
    files = {"image": ("folder/scene.png", drawn() if image is None else image)}
    return client.post(f"/v1/{route}", files=files, data=fields)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command line prints as JSON."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    assert end.value.code == 0
    return json.loads(capsys.readouterr().out)


def same(answer: dict[str, Any], other: dict[str, Any]) -> None:
    """Whether both say the same, but for the name of the picture."""
    assert answer["images"][0].pop("image") == "scene.png" and other["images"][0].pop("image")
    assert answer == other


# ------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("targets", "method"),
    [
        ([], "grad-cam"), (["top5"], "grad-cam"), (["dog"], "occlusion"), (["dog", "7"], "guided-grad-cam"),
        (["all"], "grad-cam"),
    ],
)  # fmt: skip
def test_explains_as_the_command_line_does(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str], targets: list[str], method: str
) -> None:
    (tmp_path / "x.png").write_bytes(drawn())
    answer = ask(client, target=targets, method=method)
    assert answer.status_code == 200
    asked = [word for target in targets for word in ("--target", target)]
    path = str(tmp_path / "x.png")
    same(answer.json(), printed(capsys, "explain", path, "--model", "scenes:vgg", "--method", method, *asked))


def test_captions_as_the_command_line_does(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(drawn())
    path = str(tmp_path / "x.png")
    same(ask(client, "caption").json(), printed(capsys, "caption", path))
    fields = {"caption": "a red car on a street", "word": ["car", "street"]}
    words = ["--caption", fields["caption"], "--word", "car", "--word", "street"]
    same(ask(client, "caption", **fields).json(), printed(capsys, "caption", path, *words))


def test_answers_as_the_command_line_does(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(drawn())
    question = "what colour is the bird?"
    command = ["ask", str(tmp_path / "x.png"), question]
    same(ask(client, "ask", question=question).json(), printed(capsys, *command))
    answers = ask(client, "ask", question=question, answer=["red", "blue"])
    same(answers.json(), printed(capsys, *command, "--answer", "red", "--answer", "blue"))


def test_maps_and_overlays_come_with_it(client: TestClient, models: dict[str, wf.Model]) -> None:
    e = wf.explain(models["scenes:vgg"], scene(17).image, ["dog", "bird"])
    found = ask(client, target=["dog", "bird"], include=["map", "overlay"]).json()["images"][0]["targets"]
    assert torch.equal(torch.tensor([each["map"] for each in found]), e.maps[0])
    for each, overlay in zip(found, e.overlays(0, legend=False), strict=True):
        start, content = each["overlay"].split(",")
        assert start == "data:image/jpeg;base64" and base64.b64decode(content) == jpeg(overlay)
        assert each["drawn"] == "heat"
    fine = ask(client, target="dog", method="guided-grad-cam", include="overlay").json()["images"][0]
    assert fine["targets"][0]["drawn"] == "grey" and "map" not in fine["targets"][0]
    words = ask(client, "caption", include=["overlay", "map"]).json()["images"][0]
    assert all(np.shape(each["map"]) == (12, 12) and each["overlay"] for each in [words["whole"], *words["targets"]])


def test_large_pictures_are_sent_back_smaller(client: TestClient) -> None:
    large = sent(scene(17).image.resize((2000, 1500)), "JPEG")
    image = ask(client, image=large, include="overlay").json()["images"][0]
    shown = Image.open(io.BytesIO(base64.b64decode(image["targets"][0]["overlay"].split(",")[1])))
    assert image["size"] == [2000, 1500] and shown.size == (1024, 768)


# ------------------------------------------------------------------------------------ together


def test_users_who_ask_together_get_what_each_would_get_alone(models: dict[str, wf.Model]) -> None:
    """Eight users at once, of whom one asks for what does not exist; all go through the network in one batch."""
    asked = ["dog", "bird", "car", "nonsense", "boat", "cat", "tree", "fish"]
    sizes: list[int] = []
    whole = networks.explained

    def watched(why: Any, every: Any) -> Any:
        sizes.append(len(every))
        return whole(why, every)

    app = create_app(models, Settings(linger=3.0))
    with pytest.MonkeyPatch.context() as patch, TestClient(app) as client, ThreadPoolExecutor(8) as pool:
        patch.setattr(networks, "explained", watched)
        jobs = [pool.submit(ask, client, image=drawn(i), target=name, include="map") for i, name in enumerate(asked)]
        answers = [job.result() for job in jobs]
    assert sizes[0] == 8 and sizes[1:] == [1] * 8, "once together, and one by one when that failed"
    for i, (name, answer) in enumerate(zip(asked, answers, strict=True)):
        if name == "nonsense":
            assert answer.status_code == 422 and "nonsense" in answer.json()["error"]
            continue
        alike(answer.json(), wf.explain(models["scenes:vgg"], scene(i).image, name), name)


def test_a_batch_is_one_by_one_to_float_tolerance(models: dict[str, wf.Model]) -> None:
    sizes: list[int] = []
    app = create_app(models, Settings(linger=3.0))
    asked = ["dog", "bird", "car", "bus", "boat", "cat", "tree", "fish"]
    with TestClient(app) as client, ThreadPoolExecutor(16) as pool:
        named = [pool.submit(ask, client, image=drawn(i), target=name, include="map") for i, name in enumerate(asked)]
        most = [pool.submit(ask, client, image=drawn(i), target="top2", include="map") for i in range(8)]
        answers = [job.result().json() for job in [*named, *most]]
        metrics = client.get("/metrics").text
    sizes = [int(float(n)) for n in re.findall(r"wherefore_batch_size_(?:sum|count) (\S+)", metrics)]
    assert sorted(sizes) == [2, 16], "two batches of eight: those that ask alike"
    for i, (answer, target) in enumerate(zip(answers, [*asked, *["top2"] * 8], strict=True)):
        alike(answer, wf.explain(models["scenes:vgg"], scene(i % 8).image, target), target)


def alike(answer: dict[str, Any], e: wf.Explanation, target: str) -> None:
    """Whether an answer says what an explanation says, to float tolerance, and nothing of what others asked."""
    assert answer["target"] == target
    image, other = answer["images"][0], e.report(0)
    assert image["size"] == other["size"] and len(image["targets"]) == len(other["targets"])
    for one, true, maps in zip(image["targets"], other["targets"], e.maps[0], strict=True):
        assert (one["index"], one["name"]) == (true["index"], true["name"])
        assert one["score"] == pytest.approx(true["score"], rel=1e-4, abs=1e-4)
        assert one["probability"] == pytest.approx(true["probability"], abs=1e-5)
        np.testing.assert_allclose(one["map"], maps, rtol=1e-3, atol=1e-5)


def test_the_worker_keeps_the_order_and_goes_on_after_errors() -> None:
    ran: list[list[int]] = []

    def run(every: Any) -> Any:
        ran.append([*every])
        if 13 in every:
            raise RuntimeError("13")
        return [ValueError(str(n)) if n == 7 else n * n for n in every]

    worker = Worker(batch=3, linger=0)
    jobs = [Job(n % 2, run, n) for n in (2, 3, 4, 5, 6, 8, 7, 13)]
    dropped = Job(0, run, 100)
    for job in [*jobs[:2], dropped, *jobs[2:]]:
        worker.submit(job)
    worker.drop(dropped)
    assert len(worker) == 8
    worker.start()
    worker.stop()
    assert ran == [[2, 4, 6], [3, 5, 7], [8], [13]], "the first that waits, and up to two of its kind"
    assert [job.answer.result() for job in jobs[:6]] == [4, 9, 16, 25, 36, 64] and dropped.answer.cancelled()
    assert isinstance(jobs[6].answer.exception(), ValueError) and isinstance(jobs[7].answer.exception(), RuntimeError)


def test_the_worker_goes_on_after_what_should_never_be() -> None:
    """An observer that fails, and a run with too few answers."""
    sizes: list[int] = []

    def seen(size: int) -> None:
        sizes.append(size)
        if len(sizes) == 1:
            raise OSError("no space left")

    worker = Worker(2, 0, seen)
    jobs = [Job(kind, lambda every: [*every][:1], kind) for kind in (1, 2, 2, 3)]
    for job in jobs:
        worker.submit(job)
    worker.start()
    assert isinstance(jobs[0].answer.exception(10), OSError)
    assert all(isinstance(job.answer.exception(10), ValueError) for job in jobs[1:3])
    assert jobs[3].answer.result(10) == 3 and sizes == [1, 2, 1] and worker.is_alive()
    worker.stop()
    assert not worker.is_alive()


def test_any_error_is_only_of_the_picture_that_it_is_of(models: dict[str, wf.Model]) -> None:
    why = wf.Explainer(models["scenes:vgg"])
    whole = why.on

    def on(inputs: Any, target: Any) -> Any:
        if any(each is asked[1].input for each in inputs):
            raise IndexError("bad")
        return whole(inputs, target)

    asked = [networks.Asked(why.prepare(picture(drawn(i), "x", 10**6)), "dog") for i in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(why, "on", on)
        good, bad = networks.explained(why, asked)
    assert isinstance(bad, IndexError) and isinstance(good, networks.Explained)
    assert good.report()["images"][0]["targets"][0]["name"] == "dog"


def test_health_says_that_nobody_works(models: dict[str, wf.Model]) -> None:
    client = TestClient(create_app({"scenes:vgg": models["scenes:vgg"]}))  # whose lifespan never runs
    for asked in (lambda: client.get("/v1/health"), lambda: ask(client)):
        answer = asked()
        assert answer.status_code == 503 and "start the service anew" in answer.json()["error"]
    with client:
        assert client.get("/v1/health").status_code == ask(client).status_code == 200


# ------------------------------------------------------------------------------------ bad uploads

PIECES = 30_000


def in_pieces(piece: bytes, kind: str = "PNG", before: bytes = b"", after: bytes = b"", times: int = PIECES) -> bytes:
    """A picture with a small piece many times behind its header."""
    content = sent(scene(17).image, kind)
    start = {"PNG": 33, "JPEG": 2, "GIF": 13 + 768}[kind]  # behind the palette
    return content[:start] + before + piece * times + after + content[start:]


BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "text": (lambda: b"hello, I am no picture", 415, "no picture"),
    "svg": (lambda: SVG, 415, "no picture"),
    "tiff": (lambda: sent(scene(17).image, "TIFF"), 415, "PNG, JPEG, WebP or GIF"),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), 415, "no picture"),
    "empty": (lambda: b"", 400, "empty"),
    "truncated png": (lambda: drawn()[:5000], 400, "cut off"),
    "truncated jpeg": (lambda: sent(scene(17).image, "JPEG")[:1500], 400, "cut off"),
    "truncated webp": (lambda: sent(scene(17).image, "WEBP")[:900], 400, "cut off"),
    "header of 50,000 x 50,000": (lambda: png(50_000, 50_000, zlib.compress(bytes(1000))), 413, "16,000,000 pixels"),
    "just too many pixels": (lambda: png(4001, 4000, zlib.compress(bytes(1000))), 413, "16,000,000 pixels"),
    "bomb": (lambda: png(10, 10, bomb()), 400, "inflates"),
    "bomb behind a picture": (lambda: png(900, 900, bomb()), 400, "inflates"),
    "bomb of text": (lambda: drawn()[:33] + chunk(b"zTXt", b"x\0\0" + bomb()) + drawn()[33:], 400, "damaged"),
    "bomb of scans": (scans, 400, "scans"),
    "bomb of empty data": (lambda: in_pieces(chunk(b"IDAT", b"")), 400, "pieces"),
    "bomb of empty data behind a picture": (lambda: drawn()[:-12] + chunk(b"IDAT", b"") * PIECES, 400, "pieces"),
    "bomb of chunks": (lambda: in_pieces(chunk(b"prVt", b"")), 400, "pieces"),
    "bomb of markers": (lambda: in_pieces(b"\xff\xfe\0\2", "JPEG"), 400, "pieces"),
    "bomb of padding": (lambda: in_pieces(b"\xff", "JPEG"), 400, "pieces"),
    "bomb of comments": (lambda: in_pieces(b"\x21\xfe\0", "GIF"), 400, "pieces"),
    "bomb of one comment": (lambda: in_pieces(b"\1a", "GIF", b"\x21\xfe", b"\0"), 400, "pieces"),
    "larger than a request may be": (lambda: bytes(11 * 2**20), 413, "larger than 10 MB"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_uploads_are_refused_in_one_sentence(client: TestClient, kind: str) -> None:
    make, status, words = BAD[kind]
    answer = ask(client, image=make())
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and words in answer.json()["error"]
    assert re.fullmatch(r"[^\n]+\.", answer.json()["error"]), "one line that ends"
    assert ask(client).status_code == 200, "and the next is answered"


@pytest.mark.parametrize("name", [b"IDAT", b"prVt"])
def test_pictures_of_many_pieces_are_read(name: bytes) -> None:
    """Encoders write data in chunks of 8 kB or more: 10 MB in 1,280 of them."""
    found = picture(in_pieces(chunk(name, b""), times=3000), "x", 16_000_000)
    assert found.image.tobytes() == scene(17).image.tobytes()


def test_a_bomb_takes_no_memory() -> None:
    import tracemalloc

    content = png(900, 900, bomb())
    tracemalloc.start()
    with pytest.raises(Exception, match="inflates"):
        picture(content, "x", 16_000_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * 2**20, "of 300 MB"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16", "CMYK"])
def test_good_pictures_are_read_as_the_library_reads_them(tmp_path: Path, kind: str, mode: str) -> None:
    from wherefore import imaging

    plain = scene(17).image
    shown = (
        Image.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 200)
        if mode == "I;16"
        else plain.convert(mode)
    )
    try:
        content = sent(shown, kind)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"{kind} holds no {mode}")
    (tmp_path / "x").write_bytes(content)
    assert picture(content, "x", 16384).image.tobytes() == imaging.read(tmp_path / "x").tobytes()


@pytest.mark.parametrize("depth", [1, 8])
def test_an_interlaced_png_is_no_bomb(depth: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (13, 21), dtype=np.uint8)
    rows = bytearray()
    for x, y, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        for row in pixels[y::down, x::across]:
            if len(row):
                rows += b"\0" + (np.packbits(row).tobytes() if depth == 1 else (row * 255).tobytes())
    found = picture(png(21, 13, zlib.compress(bytes(rows)), depth=depth, colour=0, adam7=1), "x", 1000)
    assert np.array_equal(np.asarray(found.image)[..., 0], pixels * 255)
    with pytest.raises(Exception, match="inflates"):
        picture(png(21, 13, zlib.compress(bytes(rows) + b"\0"), depth=depth, colour=0, adam7=1), "x", 1000)


@pytest.mark.parametrize(
    ("sent_as", "words"),
    [
        ({"files": {"file": ("x.png", drawn())}}, "'image' is missing, and none is called 'file'"),
        ({"data": {"image": "x.png"}}, "'image' must be a file"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"targets": "dog"}}, "No field is called 'targets'"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"target": "x" * 201}}, "'target' cannot be used"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"include": "all"}}, "'include' cannot be used"),
        ({"content": b"nothing"}, "'image' is missing"),
        ({"json": {"image": "x"}}, "'image' is missing"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"target": ["dog"] * 21}}, "20 at most"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"target": "top21"}}, None),
        ({"files": {"image": ("x.png", drawn())}, "data": {"target": "top0"}}, "asks for no class"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"method": "no-cam"}}, "no method is called 'no-cam'"),
        ({"files": {"image": ("x.png", drawn())}, "data": {"model": "scenes:vqa"}}, "ask it at /v1/ask"),
    ],
)
def test_wrong_fields_are_refused_in_one_sentence(client: TestClient, sent_as: Any, words: str | None) -> None:
    answer = client.post("/v1/explain", **sent_as)
    if words is None:  # there are 20 classes, which is what top21 is
        assert answer.status_code == 200 and len(answer.json()["images"][0]["targets"]) == 20
    else:
        assert answer.status_code == 422 and words in answer.json()["error"]


@pytest.mark.parametrize(
    "name", ["../../x", "hf:org/name", "scenes:resnet", "resnet50", "timm:vit", "/etc/passwd", "scenes:vgg\0", ""]
)
@pytest.mark.parametrize("route", ["explain", "caption", "ask"])
def test_no_name_from_the_network_reaches_a_loader(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, route: str, name: str
) -> None:
    from wherefore.models import zoo

    for loader in ("load", "read_state", "told"):
        monkeypatch.setattr(zoo, loader, lambda *_, **__: pytest.fail("a loader was reached"))
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a file was opened"))
    fields = {"question": "is there a dog?"} if route == "ask" else {}
    answer = ask(client, route, model=name, **fields)
    if name:
        assert answer.status_code == 422 and "no model here is called" in answer.json()["error"]
    else:
        assert answer.status_code == 200, "no name is no name: the first that can do it"


# ------------------------------------------------------------------------------------ the door


def test_the_token_is_asked_for(models: dict[str, wf.Model]) -> None:
    with TestClient(create_app(models, Settings(token=TOKEN))) as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer \xfc"},
        ):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            for answer in (client.get("/v1/models", headers=encoded), client.post("/v1/explain", headers=encoded)):
                assert answer.status_code == 401 and "token" in answer.json()["error"]
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        for open_ in ("/", "/v1/health", "/metrics", "/docs", "/page/main.js", "/page/examples"):
            assert client.get(open_).status_code == 200
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert ask(client).status_code == 200 and len(client.get("/v1/models").json()) == 3


@pytest.mark.parametrize("mounted", [False, True], ids=["root path", "mount"])
@pytest.mark.parametrize("prefixed", [False, True])
def test_the_door_is_shut_below_any_path(models: dict[str, wf.Model], mounted: bool, prefixed: bool) -> None:
    """A proxy may strip the prefix or leave it; an app may hold this one below a path of its own."""
    start = "/why" if mounted or prefixed else ""

    def open_(**limits: Any) -> TestClient:
        app = create_app({"scenes:vgg": models["scenes:vgg"]}, Settings(token=TOKEN, **limits))
        if not mounted:
            return TestClient(app, root_path="/why")
        outer = Starlette(routes=[Mount("/why", app)], lifespan=lambda _: app.router.lifespan_context(app))
        return TestClient(outer, root_path="/other" if prefixed else "")

    bearer = {"Authorization": f"Bearer {TOKEN}"}
    start = f"/other{start}" if mounted and prefixed else start
    with open_() as client:
        for answer in (client.get(f"{start}/v1/models"), client.post(f"{start}/v1/explain")):
            assert answer.status_code == 401
        assert client.get(f"{start}/v1/health").status_code == client.get(f"{start}/page/main.js").status_code == 200
        sent_ = client.post(f"{start}/v1/explain", files={"image": drawn()}, headers=bearer)
        assert sent_.status_code == 200 and len(client.get(f"{start}/v1/models", headers=bearer).json()) == 1
        assert 'requests_total{route="/v1/explain",status="401"} 1.0' in client.get(f"{start}/metrics").text
    for limits, status in (({"most_bytes": 1000}, 413), ({"queue": 0}, 503)):
        with open_(**limits) as client:
            answer = client.post(f"{start}/v1/explain", files={"image": drawn()}, headers=bearer)
            assert answer.status_code == status


def test_beyond_the_queue_it_is_busy(models: dict[str, wf.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    go, whole = threading.Event(), networks.explained
    monkeypatch.setattr(networks, "explained", lambda why, every: go.wait(30) and whole(why, every))
    with TestClient(create_app(models, Settings(queue=4, batch=2))) as client, ThreadPoolExecutor(4) as pool:
        try:
            jobs = [pool.submit(ask, client, image=drawn(i)) for i in range(4)]
            wait_for(lambda: "requests_under_way 4.0" in client.get("/metrics").text)
            for _ in range(3):
                busy = ask(client)
                assert busy.status_code == 503 and "queue is full" in busy.json()["error"]
                assert 1 <= int(busy.headers["Retry-After"]) <= 60
            assert client.get("/v1/health").status_code == 200, "which is no request to explain"
        finally:
            go.set()
        assert [job.result().status_code for job in jobs] == [200] * 4
        assert ask(client).status_code == 200, "there are places again"
        assert 'wherefore_requests_total{route="/v1/explain",status="503"} 3.0' in client.get("/metrics").text


def wait_for(true: Callable[[], bool], seconds: float = 20) -> None:
    import time

    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def form(content: bytes) -> tuple[bytes, bytes]:
    """A body with a picture, and its type."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
    return head + content + b"\r\n--b--\r\n", b"multipart/form-data; boundary=b"


async def call(app: Any, messages: list[Any], pause: float = 0.0) -> list[Any]:
    """What an app answers to messages; where there are no more the caller says nothing, and does not hang up."""
    answers: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/explain",
        "raw_path": b"/v1/explain", "query_string": b"", "root_path": "", "scheme": "http", "server": ("x", 80),
        "client": ("x", 1), "headers": [(b"content-type", form(b"")[1])],
    }  # fmt: skip
    left = iter(messages)

    async def receive() -> Any:
        await asyncio.sleep(pause)
        message = next(left, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)
    return answers


def test_who_hangs_up_is_dropped_from_the_queue(models: dict[str, wf.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    go, ran, whole = threading.Event(), [], networks.explained

    def slow(why: Any, every: Any) -> Any:
        ran.append(len(every))
        return go.wait(30) and whole(why, every)

    monkeypatch.setattr(networks, "explained", slow)
    app = create_app(models, Settings(batch=1, linger=0))
    with TestClient(app) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client)
        wait_for(lambda: ran == [1])
        body = {"type": "http.request", "body": form(drawn())[0]}
        answers = asyncio.run(call(app, [body, {"type": "http.disconnect"}]))
        assert answers[0]["status"] == 499, "which nobody reads"
        metrics = client.get("/metrics").text
        assert "queue_length 0.0" in metrics and "requests_under_way 1.0" in metrics
        go.set()
        assert first.result().status_code == 200
    assert ran == [1], "the other never ran"


def test_what_arrives_too_slowly_or_never_ends_is_refused(models: dict[str, wf.Model]) -> None:
    app = create_app(models, Settings(patience=0.2, most_bytes=1000))
    begun = {"type": "http.request", "body": form(bytes(100))[0][:-10], "more_body": True}
    with TestClient(app):
        answers = asyncio.run(call(app, [begun]))
        assert answers[0]["status"] == 408 and b"longer than 0.2 s" in answers[1]["body"]
        answers = asyncio.run(
            call(app, [begun, *[{"type": "http.request", "body": bytes(100), "more_body": True}] * 50])
        )
        assert answers[0]["status"] == 413 and b"larger than" in answers[1]["body"]


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_too_much_hears_why(models: dict[str, wf.Model], chunked: bool) -> None:
    """Over a real connection, which must not be cut before the answer is read."""
    import httpx

    body, kind = form(bytes(8 * 2**20))
    content = (body[i : i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    settings = Settings(most_bytes=5 * 2**20, token=None if chunked else TOKEN)
    headers = {"Content-Type": kind.decode(), **({} if chunked else {"Authorization": f"Bearer {TOKEN}"})}
    with served(create_app(models, settings)) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        answer = client.post("/v1/explain", content=content, headers=headers)
        assert answer.status_code == 413 and "larger than 5 MB" in answer.json()["error"]
        assert chunked or client.post("/v1/explain", content=body[: 2**20]).status_code == 401


def test_what_breaks_here_is_said_without_saying_what(
    models: dict[str, wf.Model], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(networks, "explained", lambda *_: 1 / 0)
    with TestClient(create_app(models)) as client:
        answer = client.post("/v1/explain", files={"image": drawn()}, headers={"X-Request-ID": "mine-1"})
        assert answer.status_code == 500 and "mine-1" in answer.json()["error"] and "division" not in answer.text
        assert answer.headers["X-Request-ID"] == "mine-1" and "division by zero" in caplog.text
        assert client.get("/v1/health", headers={"X-Request-ID": "a b\n"}).headers["X-Request-ID"] != "a b\n"
        assert ask(client, "caption").status_code == 200, "the thread goes on"


# ------------------------------------------------------------------------------------ pages, and what there is


def test_what_there_is(client: TestClient, models: dict[str, wf.Model]) -> None:
    said = client.get("/v1/models").json()
    assert [(each["name"], each["kind"], each["route"]) for each in said] == [
        ("scenes:vgg", "classes", "/v1/explain"),
        ("scenes:captioner", "captions", "/v1/caption"),
        ("scenes:vqa", "answers", "/v1/ask"),
    ]
    assert said[0]["classes"] == list(models["scenes:vgg"].classes or ())
    assert [each["method"] for each in client.get("/v1/methods").json()] == [*wf.METHODS]
    assert client.get("/v1/health").json()["status"] == "ok"
    assert client.get("/nothing").json() == {"error": "There is nothing at /nothing: /docs lists what there is."}
    assert client.get("/v1/explain").status_code == 405 and "POST" in client.get("/v1/explain").json()["error"]


def test_the_pages_need_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.status_code == 200 and "'unsafe" not in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<style|<script>| style=| on[a-z]+=", answer.text), (
            "no script, no style in the page itself"
        )
        for address in re.findall(r'(?:src|href)="([^"]*)"', answer.text):
            assert not re.match(r"[a-z]+:|//|/", address), f"{address} is relative, so that a proxy may put it anywhere"
            if not address.startswith("#"):
                assert client.get(f"/{address.removeprefix('./')}").status_code == 200
    for name in pages.ASSETS:
        text = client.get(f"/page/{name}").text
        assert not re.search(r"""["'(](https?:)?//""", text.replace("http://www.w3.org/2000/svg", "")), name


def test_the_description_names_every_route(client: TestClient) -> None:
    spec, docs = client.get("/openapi.json").json(), client.get("/docs").text
    assert {"/v1/explain", "/v1/caption", "/v1/ask", "/v1/models", "/v1/methods", "/v1/health", "/metrics"} == {
        *spec["paths"]
    }
    assert all(path in docs for path in spec["paths"])
    for path in ("/v1/explain", "/v1/caption", "/v1/ask"):
        assert [*spec["paths"][path]["post"]["requestBody"]["content"]] == ["multipart/form-data"]
        assert {"400", "401", "413", "415", "422", "503"} <= {*spec["paths"][path]["post"]["responses"]}


def test_examples_are_scenes_that_can_be_tried(client: TestClient) -> None:
    for about in client.get("/page/examples").json():
        content = client.get(f"/{about['picture']}").content
        assert Image.open(io.BytesIO(content)).size == (pages.SIDE, pages.SIDE)
        number = int(about["name"].removeprefix("scenes:"))
        true = next(q.answer for q in scene(number).questions if q.text == about["question"])
        assert ask(client, "ask", image=content, question=about["question"]).json()["images"][0]["answer"] == true
    assert client.get("/page/examples/1.png").status_code == 404
    assert client.get("/page/..%2fapp.py").status_code == client.get("/page/app.py").status_code == 404


# ------------------------------------------------------------------------------------ how it is started


def test_tokens_that_are_weak_or_missing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert token(None) is None
    monkeypatch.setenv(VARIABLE, f" {TOKEN}\n")
    assert token(None) == TOKEN
    for weak in ("", "short", "two words that are long enough", "ümläut-of-enough-letters"):
        (tmp_path / "token").write_text(weak, encoding="utf-8")
        with pytest.raises(Error, match=r"token"):
            token(tmp_path / "token")
    with pytest.raises(Error, match="cannot be read"):
        token(tmp_path / "none")


def test_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    with listening.listen("127.0.0.1", 0) as taken:
        assert running.is_local(taken) and re.fullmatch(r"http://127\.0\.0\.1:\d+", listening.address(taken))
        with pytest.raises(SystemExit) as end:
            main(["serve", "--port", str(taken.getsockname()[1])])
        said = capsys.readouterr().err
        assert end.value.code == 2 and "give another --port" in said and said.count("127.0.0.1") == 1
    with listening.listen("0.0.0.0", 0) as every:
        assert not running.is_local(every)
        port = every.getsockname()[1]
        assert listening.address(every) == f"http://127.0.0.1:{port} (elsewhere http://{socket.gethostname()}:{port})"
    with pytest.raises(Error, match="cannot be used"):
        listening.listen("no such host", 7860)


def test_networks_that_cannot_be_served_are_refused_at_the_start(models: dict[str, wf.Model]) -> None:
    with pytest.raises(Error, match="needs a network"):
        create_app({})
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 224 * 224, 2))
    with pytest.raises(Error, match="layer"):
        create_app({"flat": wf.Model(flat, preprocess=wf.Preprocess())})
    with TestClient(create_app({"mine": models["scenes:vqa"]})) as client:
        answer = ask(client)
        assert answer.status_code == 422 and "No network here gives classes" in answer.json()["error"]
