"""The one door: `explain` and `Explainer`. Guards, defaults, batching; the methods behind it see clean input only."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.below import COMPILED, PLAIN, checked
from wherefore.copying import Copier, ahead
from wherefore.errors import Error, ImageError, NothingSeen, NotReached
from wherefore.explanation import Explanation
from wherefore.feeding import filled, keyword, like, shapes
from wherefore.guard import any_score, prepared, unwrap
from wherefore.inputs import Batch, Input, Reader
from wherefore.layers import Layers, find_layers, layer_for
from wherefore.methods import cams as _cams  # noqa: F401  importing the package fills METHODS
from wherefore.options import WHERE, WHY_NOT, WITHOUT_LAYER, check_options, method_options, takes
from wherefore.outputs import embedded, embedding, select
from wherefore.registry import METHODS
from wherefore.results import explanation
from wherefore.split import Splits
from wherefore.subjects import Subject
from wherefore.targets import choose, for_images, warn_if_flat
from wherefore.types import Chosen, Grid, Layer, Model, Query, Raw, Target


def explain(
    model: Model | nn.Module,
    images: Any,
    target: Any = None,
    *,
    method: str = "grad-cam",
    layer: str | nn.Module | None = None,
    question: str | Sequence[str] | None = None,
    **options: Any,
) -> Explanation:
    """Where the network looked: raw maps ``(B, T, h, w)`` for T targets of B images, with scores, drawings, boxes.

        wf.explain(model, "cat_dog.jpg", target=["tiger cat", "boxer"]).overlay()

    ``images``: a path, PIL picture, array ``(H, W, 3)``, a list of these, or a tensor ``(B, 3, H, W)`` that is fed to
    the network as it is; videos and volumes ``(B, C, t, H, W)``, signals ``(B, C, L)``, token numbers ``(B, L)``, a
    text for a model that reads it; several inputs as a dict or `wherefore.Inputs`. ``target``: see
    `wherefore.targets`; by default the class with the highest score. ``question``: what a model that answers questions
    is asked, of all images or of each another. Raises `Error` with one sentence that says what
    to do. Further ``options`` as in `Explainer`.
    """
    return Explainer(model, method, layer, **options)(images, target, question)


def embed(model: Model | nn.Module, images: Any, *, output: Any = None) -> Tensor:
    """The network's embeddings ``(B, D)`` of images, for `wherefore.Similarity`: floats on the network's device.

        wf.explain(model, "cat.jpg", wf.Similarity(wf.embed(model, "other cat.jpg")))

    ``images`` as in `explain`. The embedding is the part of the output that ``output`` says (a key, an index, a
    function), else the one that libraries call so, else the output. Raises `Error` where there is none.
    """
    why = Explainer(model, output=output)
    found = []
    with prepared(why.net), torch.no_grad():
        for batch in why.reader.batches(images, 8):
            net, given = why.fed(batch)
            returned = net(given)
            found.append(
                embedding(select(returned, why.output if output is not None or not embedded(returned) else None))
            )
    return torch.cat(found)


class Explainer:
    """A model and a method, prepared once and called often.

        why = wf.Explainer(model, method="grad-cam", layer="layer4")
        e = why(images, target=[281, 242])

    ``layer`` by default the model's own, else found from one traced forward pass, once per network and input size.
    ``fit="squash"`` shows the network the whole picture squashed instead of its own crop. ``compile=True`` sends the
    part below the layer through torch.compile (the first call then takes up to a minute); ``below`` names other ways of
    running that part, which `wherefore.below` lists and `wherefore.tune` measures. ``flips=True`` takes the mean
    of a layer's map and that of the mirrored picture, mirrored back. ``batch_size`` images go through the network at
    once: by default 8 on a CPU, where more take no less time and more memory, and else 64; 2 and 16 for methods that
    record the whole network. ``grid`` says how the named layer lies in the picture where that cannot be inferred, and
    ``output`` which part of what the network returns holds the scores (a key, an index, a function). ``counter=True``
    also finds what speaks against the target: `Explanation.against`. ``options`` belong to the method:
    `wherefore methods NAME` tells them. A network in training mode is in eval mode for the time of a call, for all who
    use it.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        method: str = "grad-cam",
        layer: str | nn.Module | None = None,
        *,
        fit: str = "model",
        compile: bool = False,
        below: str | None = None,
        flips: bool = False,
        batch_size: int | None = None,
        grid: Grid | None = None,
        output: Any = None,
        counter: bool = False,
        **options: Any,
    ) -> None:
        self.model = model if isinstance(model, Model) else Model(model)
        if output is not None:
            self.model = replace(self.model, output=output)
        self.output = self.model.output
        self.net = unwrap(self.model.net)
        self.reader = Reader(self.model, fit)
        if batch_size is not None and batch_size < 1:
            raise Error(f"batch_size must be at least 1, not {batch_size}.")
        self.method, self.run = method, METHODS[method].run
        self.at: str = METHODS[method].about.get("at", "layer")
        if compile and below not in (None, COMPILED):
            raise Error(f"compile=True is below='compiled', and below={below!r} something else: leave one of them out.")
        self.below = checked(below or (COMPILED if compile else PLAIN))
        named = {"layer": layer is not None, "compile": compile, "below": self.below != PLAIN, "flips": flips}
        for name, asked in named.items():
            if asked and name not in takes(method):
                raise Error(f"{method} takes no {name}: {WHY_NOT[name]}; leave it out.")
        self.layer = self._named(layer) or (self.model.layer if self.at == "layer" else None)
        check_options(method, options)
        if grid is not None and not isinstance(grid, Grid):
            raise Error(f"grid is wf.Grid(layout, size), such as wf.Grid('tokens', (14, 14), 1), not {grid!r}.")
        if grid is not None and not self.layer:
            raise Error("grid says how a layer lies in the picture: name the layer with layer=.")
        if counter and "relu" not in method_options(method):
            raise Error(f"counter= asks for what {method} leaves out, and it leaves out nothing: leave it out.")
        self.grid, self.counter = grid, counter
        self.fit, self.flips, self.batch_size, self.options = fit, flips, batch_size, options
        self._splits = Splits(self.net, self.below)
        self._copier: Copier | None = None

    def running(self, below: str) -> Explainer:
        """The same, with the part below the layer run in another way."""
        if "below" not in takes(self.method):
            raise Error(f"{self.method} takes no below: {WHY_NOT['below']}; leave it out.")
        other = copy(self)
        other.below = checked(below)
        other._splits = Splits(self.net, other.below)
        return other

    def __call__(self, images: Any, target: Any = None, question: str | Sequence[str] | None = None) -> Explanation:
        """The explanation of ``target`` on ``images``, as `explain` takes them."""
        batches = self.reader.batches(images, self.at_once, self.batch_size)
        warn_if_flat(target, sum(len(batch.pictures) for batch in batches))
        return self.explained(self.reader.asked(batches, question), target, question)

    def on(
        self, inputs: Sequence[Input], target: Any = None, question: str | Sequence[str] | None = None
    ) -> Explanation:
        """The explanation of inputs that `prepare` made."""
        batches = self.reader.together(inputs, self.at_once)
        return self.explained(self.reader.asked(batches, question), target, question)

    def layers(self, images: Any, target: Any = None, question: str | Sequence[str] | None = None) -> Layers:
        """Every layer that can be explained for a target, with its grid; the default, and why others cannot be.

            [layer.name for layer in wf.Explainer(net).layers(images).every]

        ``images``, ``target`` and ``question`` as in `explain`; of several images the first ones are looked at.
        """
        net, first = self.fed(self.reader.asked(self.reader.batches(images, 1), question)[0])
        return find_layers(net, first, lambda output: self.choose(target, output), self.model.layer)

    def open(self, source: str | Path | Subject) -> Subject:
        """What lies in a file, a picture, a video or a text, as `prepare` takes it; a subject as it is."""
        return self.reader.open(source)

    def prepare(self, subject: Subject) -> Input:
        """What the network is fed for one picture; for those who decode while others compute."""
        return self.reader.prepare(subject)

    @property
    def device(self) -> torch.device | None:
        """Where the network is, None where it sees to that itself."""
        return self._like[0]

    @property
    def at_once(self) -> int:
        """How many images go through the network at once."""
        on_cpu = self.device is None or self.device.type == "cpu"
        whole = METHODS[self.method].about.get("graph") == "whole"
        return self.batch_size or (8 if on_cpu else 64) // (4 if whole else 1)

    def explained(self, batches: Sequence[Batch], target: Any, question: Any = None) -> Explanation:
        """The explanation of batches that the reader made."""
        total, start, done = sum(len(b.pictures) for b in batches), 0, []
        with torch.inference_mode(False):
            for batch in self._arriving(batches):
                stop = start + len(batch.pictures)
                found = self._seen(batch, for_images(target, start, stop, total))
                done += [(each.outline(), layer, raw) for each, layer, raw in found]
                start = stop
        settings = {
            "method": self.method,
            "target": str(target),
            "fit": self.fit,
            "options": self.options,
            "flips": self.flips,
            "compile": self.below == COMPILED,
            "below": self.below,
            "counter": self.counter,
            "output": None if self.output is None else str(self.output),
        }
        if self.model.question is not None:
            settings["question"] = self.model.prompt if question is None else question
        results = [(layer, raw) for _, layer, raw in done]
        return explanation(self.model, [b for b, _, _ in done], results, settings, target)

    # ---------------------------------------------------------------------------------------- what is done

    def _arriving(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """The batches where the network wants them; on a GPU the next one is copied while one is explained."""
        device = self.device
        if device is None:
            yield from batches
            return
        if self._copier is None or self._copier.device != device:
            self._copier = Copier(device)
        tensors = ahead(((batch.images, batch.others) for batch in batches), self._copier)
        for batch, (images, others) in zip(batches, tensors, strict=True):
            yield replace(batch, images=images, others=others)

    def _seen(self, batch: Batch, target: Any) -> list[tuple[Batch, Layer, Raw]]:
        """What comes out for a batch; image by image where a detector sees nothing of the kind in some of them."""
        try:
            return [(batch, *self._run(batch, target))]
        except NothingSeen as error:
            count = len(batch.pictures)
            if count > 1:
                each = ((batch.part(i, i + 1), for_images(target, i, i + 1, count)) for i in range(count))
                return [found for some in each for found in self._seen(*some)]
            name = batch.pictures[0].name
            try:
                with any_score(self.net):
                    found = batch, *self._run(batch, target)
            except NothingSeen as none:
                raise ImageError(f"{name}: {none}") from None
            warnings.warn(f"{name}: {error.what}; its best below that threshold is explained.", stacklevel=5)
            return [found]

    def _run(self, batch: Batch, target: Any) -> tuple[Layer, Raw]:
        try:
            return self._result(batch, target)
        except Error:
            raise
        except (TypeError, ValueError) as error:
            lacking = self._lacking(batch)
            if lacking and _of_forward(error, self.net):
                raise Error(
                    f"{self.model.name} cannot be run on these inputs alone ({str(error).splitlines()[0]}); it also "
                    f"takes {', '.join(lacking)}: pass several inputs as a dict or wf.Inputs(...)."
                ) from error
            raise

    def _result(self, batch: Batch, target: Any) -> tuple[Layer, Raw]:
        """The layer and what the method says there; once more where what was remembered of layers misleads."""
        layer = self._layer(batch, target)
        try:
            raw = self._asked(batch, target, layer)
        except NotReached:
            if self.layer or self.at in WITHOUT_LAYER:
                raise
            layer = self._layer(batch, target, anew=True)
            return layer, self._asked(batch, target, layer)
        if raw.silent is None or not bool(raw.silent.any()):
            return layer, raw
        return self._where_it_speaks(batch, target, layer, raw)

    def _where_it_speaks(self, batch: Batch, target: Any, layer: Layer, raw: Raw) -> tuple[Layer, Raw]:
        """What is said of targets that have no gradient at the layer, but at another: that one, or why not."""
        assert raw.silent is not None
        number = int(raw.silent.int().argmax())
        try:
            other = self._layer(batch, target, only=(number, int(raw.chosen.classes[0, number])))
            answer = raw if other.name == layer.name else self._asked(batch, target, other)
        except Error:
            return layer, raw
        if answer.silent is None or bool(answer.silent[number]):  # it has no gradient anywhere
            return layer, raw
        name = raw.chosen.names[0][number]
        if self.layer:
            raise NotReached(f"layer {self.layer!r} does not reach the target {name!r}: use {other.name!r}.")
        if len(raw.silent) > 1:
            raise NotReached(
                f"the target {name!r} is not read from layer {layer.name!r} as others are, but from {other.name!r}: "
                "explain it by itself."
            )
        return other, answer

    def _asked(self, batch: Batch, target: Any, layer: Layer) -> Raw:
        """What the method says of the targets at a layer."""
        net, images = self.fed(batch)

        def read(output: Any) -> Chosen:
            return self.choose(target, output)

        query = Query(net, images, layer, read, self._splits.at(layer.name, net))
        raw = self._maps(query, {**self.options, **({"relu": False} if self.counter else {})})
        finite = raw.maps.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            name = batch.pictures[int(finite.int().argmin())].name
            raise ImageError(
                f"the map of {name} is not finite: the network's activations or gradients overflow (half precision?) "
                "or its weights are broken."
            )
        maps = raw.maps.detach().float()
        if self.counter:
            raw = raw._replace(against=(-maps).relu())
            maps = maps.relu() if self.options.get("relu", method_options(self.method)["relu"]) else maps
        of_layer = self.at not in WITHOUT_LAYER and raw.pixels is None
        return raw._replace(maps=maps, filled=filled(self.net, images) if of_layer else (1.0, 1.0))

    def _lacking(self, batch: Batch) -> list[str]:
        """The names of what else the network takes, those first that it must be given."""
        try:
            parameters = inspect.signature(self.net.forward).parameters
        except (TypeError, ValueError):
            return []
        given = {*batch.others, batch.main, keyword(self.net, batch.images) or next(iter(parameters), "")}
        names = [
            p for p in parameters.values() if p.name not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        return [p.name for p in sorted(names, key=lambda p: p.default is not p.empty)][:6]

    def _maps(self, query: Query, options: dict[str, Any]) -> Raw:
        """What the method says; with ``flips`` the mean with the mirrored pictures."""
        raw: Raw = self.run(query, **options)
        if not self.flips:
            return raw
        if query.images.ndim not in (4, 5) or query.net is not self.net or not raw.chosen.are_classes:
            raise Error("flips mirrors pictures whose classes are explained, and nothing else: leave it out.")
        mirrored = replace(query, images=query.images.flip(-1), choose=partial(_same, raw.chosen))
        other: Raw = self.run(mirrored, **options)
        return raw._replace(maps=(raw.maps + other.maps.flip(-1)) / 2)

    def choose(self, target: Any, output: Any) -> Chosen:
        """What a target means for an output of the network."""
        model = self.model
        return choose(target, output, model.classes, which=self.output, multilabel=model.multilabel)

    def batch_of(self, inputs: Sequence[Input]) -> Batch:
        """The batch that inputs of one shape make."""
        return self.reader.together(inputs, len(inputs))[0]

    def layer_of(self, batch: Batch, target: Any = None) -> Layer:
        """The layer that is explained of a batch."""
        return self._layer(batch, target)

    def fed(self, batch: Batch) -> tuple[nn.Module, Tensor]:
        """The network as one that takes the images of a batch alone, and the images where it wants them."""
        device, dtype = self._like
        casts = device is not None and torch.is_autocast_enabled(device.type)
        return batch.fed_to(self.net, device, None if casts else dtype)

    def _layer(self, batch: Batch, target: Any, *, anew: bool = False, only: tuple[int, int] | None = None) -> Layer:
        """The layer that is explained: the one asked for, or the default for the target.

        ``only``: the default for one of several targets, by its number and class (-1: none, and not remembered).
        """
        images = batch.images
        if self._needs_pixels and not images.is_floating_point():
            raise Error(
                f"{self.method} looks at {WHERE.get(self.at, 'the pixels')}, and {self.model.name} is fed numbers of "
                "tokens, which have no gradient and no colour: take a method of a layer, such as grad-cam."
            )
        if self.at in WITHOUT_LAYER:
            return Layer(self.at, Grid("channels-first", tuple(images.shape[2:])), images.shape[1])
        owner, count = _own(target), len(images)
        if not batch.each and _by_one(owner):
            batch, target = batch.part(0, 1), for_images(target, 0, 1, count)
        net, images = self.fed(batch)

        def read(output: Any) -> Chosen:
            chosen = self.choose(target, output)
            return chosen if only is None else chosen._replace(scores=chosen.scores[:, only[0] : only[0] + 1])

        if only is not None:
            owner = ("only", only[1]) if only[1] >= 0 else _Once()
        return layer_for(
            net,
            None if only is not None else self.layer,
            images,
            read,
            owner,
            stage=self.at == "stage",
            grid=self.grid,
            reached=self._differentiates,
            about=(repr(self.output), str(batch.main), shapes(batch.others)),
            anew=anew,
        )

    @property
    def _needs_pixels(self) -> bool:
        """Whether the method differentiates by the input, scales it or covers it."""
        about = METHODS[self.method].about
        return self.at in WITHOUT_LAYER or about.get("graph") == "whole" or bool(about.get("paints"))

    @property
    def _differentiates(self) -> bool:
        """Whether the method reads gradients by the layer: one that nothing flows back to says nothing then."""
        about = METHODS[self.method].about
        return not about.get("blind") and about.get("graph") != "again"

    @property
    def _like(self) -> tuple[torch.device | None, torch.dtype | None]:
        """Where images go, and in which precision."""
        return like(self.net)

    def _named(self, layer: str | nn.Module | None) -> str | None:
        """The name of a layer that may be given as the module itself."""
        if not isinstance(layer, nn.Module):
            return layer
        name = next((name for name, module in self.net.named_modules() if module is layer), None)
        if not name:
            raise Error(f"layer {type(layer).__name__} is no submodule of {self.model.name}: give one of its own.")
        return name


def _own(target: Any) -> Any:
    """What a target that is no class shares its layer with: its kind or, of functions, their code."""
    if isinstance(target, Target):
        return type(target)
    if callable(target):
        return getattr(target, "__code__", target)
    if isinstance(target, (list, tuple)) and any(isinstance(t, Target) or callable(t) for t in target):
        return tuple(getattr(t, "__code__", type(t)) for t in target)
    return None


def _by_one(owner: Any) -> bool:
    """Whether one image of a batch tells the layer: a function may know how many images there are."""
    kinds = owner if isinstance(owner, tuple) else (owner,)
    return all(kind is None or (isinstance(kind, type) and issubclass(kind, (Target, int, str))) for kind in kinds)


def _of_forward(error: BaseException, net: nn.Module) -> bool:
    """Whether an error was raised by a network's own code, or by calling it with too few inputs."""
    codes = {type(module).forward.__code__ for module in net.modules() if hasattr(type(module).forward, "__code__")}
    frame, inside = error.__traceback__, False
    while frame is not None:
        inside = inside or frame.tb_frame.f_code in codes
        frame = frame.tb_next
    missing = f"{type(net).__name__}.forward() missing" in str(error)
    return missing or (inside and any(word in str(error) for word in ("specify", "provide", "None")))


def _same(first: Chosen, output: Any) -> Chosen:
    """The targets that were chosen for the picture itself, read from another output."""
    return first._replace(
        scores=first.follow(output), logits=first.every(output) if first.are_classes else None, head=None, place=None
    )


class _Once:
    """A question that is asked once: what is found is not remembered for others."""
