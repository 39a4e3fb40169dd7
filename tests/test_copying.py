"""Copies beside a GPU's work: in the right order, on the right streams, none read before it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import wherefore as wf
from conftest import images, pooled
from wherefore.copying import Copier, ahead

CPU = torch.device("cpu")


class Streams:
    """torch.cuda's streams without a GPU: a copy is made when it is waited for, and before that there is garbage."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current: Any = _Stream(self, "main")
        self.owed: list[tuple[Tensor, Tensor]] = []  # copies that were asked for since the last event

    def Stream(self, device: torch.device) -> _Stream:
        return _Stream(self, "copies")

    def current_stream(self, device: torch.device) -> _Stream:
        return self.current

    @contextmanager
    def stream(self, stream: _Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before


class _Stream:
    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name

    def record_event(self) -> list[tuple[Tensor, Tensor]]:
        owed, self.streams.owed = self.streams.owed, []
        return owed

    def wait_event(self, owed: list[tuple[Tensor, Tensor]]) -> None:
        self.streams.log.append(f"{self.name} waits")
        for own, source in owed:
            own.copy_(source)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Stand-ins for streams, pinned memory and the copies between them."""
    made, moved = Streams(), Tensor.to

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not kwargs.get("non_blocking"):
            return moved(self, *args, **kwargs)
        assert made.current.name == "copies" and self.data_ptr() in pinned, "from pinned memory, on a stream of its own"
        own = torch.full_like(self, 99)
        made.owed.append((own, self))
        made.log.append("sent")
        return own

    def pin(self: Tensor) -> Tensor:
        copy = self.clone()
        pinned[copy.data_ptr()] = copy
        return copy

    def record(self: Tensor, stream: _Stream) -> None:
        made.log.append(f"kept for {stream.name}")

    pinned: dict[int, Tensor] = {}
    monkeypatch.setattr(Tensor, "to", to)
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "record_stream", record)
    return made


def test_a_copy_is_read_once_it_is_there(streams: Streams) -> None:
    x = torch.arange(4.0)
    coming = Copier(CPU, streams).start((x, {"mask": x + 1, "name": "a"}))
    assert bool((coming.value[0] == 99).all()), "nothing has been waited for yet"
    found, others = coming.get()
    assert torch.equal(found, x) and torch.equal(others["mask"], x + 1) and others["name"] == "a"
    assert streams.log == ["sent", "sent", "main waits", "kept for main", "kept for main"]


def test_the_next_is_sent_before_one_is_worked_on(streams: Streams) -> None:
    values = [torch.full((2,), float(i)) for i in range(3)]
    for i, found in enumerate(ahead(iter(values), Copier(CPU, streams))):
        assert torch.equal(found, values[i])
        streams.log.append(f"work on {i}")
    kept = ["main waits", "kept for main"]
    assert streams.log == [
        "sent", "sent", *kept, "work on 0", "sent", *kept, "work on 1", *kept, "work on 2"
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_all_come_in_their_order(count: int) -> None:
    values = [(torch.full((2,), float(i)), {0: i}) for i in range(count)]
    assert [(x.tolist(), other) for x, other in ahead(values, Copier(CPU))] == [
        (x.tolist(), other) for x, other in values
    ]


def test_other_devices_have_no_streams() -> None:
    coming = Copier(torch.device("meta")).start([images()])
    assert coming.get()[0].is_meta and coming.copied is None


def test_batches_of_a_call_come_ahead(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """The explainer's own loop, its copies made by the stand-ins: garbage would be explained if it did not wait."""
    from wherefore import explainer

    net, x = pooled(), images(6)
    plain = wf.explain(net, x, "all", batch_size=2)
    made: list[Copier] = []

    def copier(device: torch.device) -> Copier:
        made.append(Copier(device, streams))
        return made[-1]

    monkeypatch.setattr(explainer, "Copier", copier)
    why = wf.Explainer(net, batch_size=2)
    e = why(x, "all")
    assert torch.equal(e.maps, plain.maps) and torch.equal(e.scores, plain.scores)
    assert streams.log.count("sent") == 3 and streams.log[:3] == ["sent", "sent", "main waits"]
    why(x, "all")
    why.running("folded")(x, "all")
    assert len(made) == 1, "every stream would keep memory of its own"


def test_pictures_of_a_run_come_ahead(streams: Streams, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    from wherefore.batch import shards
    from wherefore.batch.engines import run
    from wherefore.batch.run import Settings

    run("scenes", tmp_path / "plain", Settings("scenes:vgg"), limit=20)
    monkeypatch.setattr(shards, "Copier", lambda device: Copier(device, streams))
    monkeypatch.setattr(shards.os, "cpu_count", lambda: 1)  # the stand-ins are for one reader
    run("scenes", tmp_path / "ahead", Settings("scenes:vgg"), limit=20)
    tables = [parquet.read_table(tmp_path / name / "shard-000000.parquet").to_pylist() for name in ("plain", "ahead")]
    assert tables[0] == tables[1] and streams.log.count("sent") == 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    gpu = torch.device("cuda")
    values = [torch.rand(64, 3, 224, 224) for _ in range(4)]
    for found, value in zip(ahead(values, Copier(gpu)), values, strict=True):
        assert found.device.type == "cuda" and torch.equal(found.cpu(), value)
    net, x = pooled(), images(6)
    plain = wf.explain(net, x, "all", batch_size=2)
    e = wf.explain(net.cuda(), x, "all", batch_size=2)
    assert torch.allclose(e.maps.cpu(), plain.maps, atol=1e-3)
