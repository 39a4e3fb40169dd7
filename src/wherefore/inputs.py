"""What goes in: pictures, clips, signals and texts of every kind as tensors, with what they show, in batches."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wherefore import imaging
from wherefore.errors import Error
from wherefore.feeding import Inputs, Key, canonical, channels_axis, fed, is_sequence, on_device, part
from wherefore.guard import unwrap
from wherefore.imaging import Frames, Preprocess, Region
from wherefore.regions import region_seen
from wherefore.scenes import PREFIX, Scene, named
from wherefore.subjects import Clip, Picture, Signal, Subject, Text
from wherefore.text import Words
from wherefore.types import Model

EXAMPLE = "how many are there?"  # asked of a model that must be asked something
MOST_SIZES = 1024  # of pictures, whose regions are remembered
NOT_YET: Region = (0.0, 0.0, 0.0, 0.0)  # nothing is known of the part that the network sees


@dataclass(frozen=True)
class Input:
    """One prepared image and the picture that it came from."""

    tensor: Tensor  # (C, H, W) as the network takes it; token numbers (L,)
    picture: Subject
    others: Mapping[str, Tensor] = field(default_factory=dict)  # what else belongs to it: the mask of a text


@dataclass(frozen=True)
class Batch:
    """Images that go through the network at once, and their pictures."""

    images: Tensor  # (B, C, H, W), channels second; see `feeding`
    pictures: list[Subject]
    others: Mapping[Key, Any] = field(default_factory=dict)  # what else the network is fed
    main: Key = 0
    axis: int | None = 1  # where the network wants the channels
    each: frozenset[Key] = frozenset()  # what of the others belongs to the images one by one

    def part(self, start: int, stop: int) -> Batch:
        """The same of images ``start`` to ``stop``."""
        count = len(self.images)
        others = {k: part(v, start, stop, count) if k in self.each else v for k, v in self.others.items()}
        return replace(self, images=self.images[start:stop], pictures=self.pictures[start:stop], others=others)

    def outline(self) -> Batch:
        """Its pictures and the shapes of its images alone: what was on a device is free to go."""
        return replace(self, images=self.images.to("meta"), others={})

    def fed_to(
        self, net: nn.Module, device: torch.device | None, dtype: torch.dtype | None
    ) -> tuple[nn.Module, Tensor]:
        """The network as one that takes these images alone, and the images where it wants them."""
        if device is None:
            return fed(net, self.images, self.others, self.main, self.axis, self.each), self.images.detach()
        images = on_device(self.images, device, dtype)
        others = {key: on_device(value, device, dtype) for key, value in self.others.items()}
        return fed(net, images, others, self.main, self.axis, self.each), images


class Reader:
    """Prepares pictures for a model: by its own crop, or with ``fit="squash"`` the whole picture squashed."""

    def __init__(self, model: Model, fit: str = "model") -> None:
        if fit not in ("model", "squash"):
            raise Error(f"fit is 'model' (the network's own crop) or 'squash' (the whole picture), not {fit!r}.")
        self.model, self.fit, self.net = model, fit, unwrap(model.net)
        self._regions: dict[tuple[int, int], Region] = {}

    def batches(self, images: Any, size: int, given: int | None = None) -> list[Batch]:
        """Batches of ``size`` of all kinds of images; each goes through the network once.

        Several inputs (`wherefore.Inputs`, a dict) go at once, or ``given`` at a time: which of them belong to the
        images one by one is told by their length.
        """
        if isinstance(images, (Inputs, Mapping)):
            inputs = images if isinstance(images, Inputs) else Inputs(**images)
            return self._pieces(inputs.images, given or max(1, len(inputs.images)), inputs)
        if isinstance(images, Tensor):
            return self._pieces(images, size)
        return self.together(self.read(images), size)

    def read(self, images: Any) -> list[Input]:
        """The prepared images of a path, picture, array or a list of these and of tensors."""
        if isinstance(images, np.ndarray) and images.ndim == 4:  # for a network of videos they are the frames of one
            images = [imaging.from_array(image) for image in images] if self.reads_clips else list(images)
        if not isinstance(images, (list, tuple)) or (self.reads_clips and _is_clip(images)):
            images = [images]
        if not images:
            raise Error("there is no picture to explain.")
        return [self._one(image, i) for i, image in enumerate(images)]

    def together(self, inputs: Sequence[Input], size: int) -> list[Batch]:
        """Consecutive inputs of one shape as batches."""
        groups: list[list[Input]] = []
        for one in inputs:
            last = groups[-1] if groups else []
            if not last or len(last) == size or last[0].tensor.shape != one.tensor.shape:
                groups.append([])
            groups[-1].append(one)
        return [self._batch(group) for group in groups]

    def _batch(self, group: list[Input]) -> Batch:
        images = torch.stack([one.tensor for one in group])
        of_each = {key: torch.stack([one.others[key] for one in group]) for key in group[0].others}
        axis = channels_axis(images, self.net)
        others: dict[Key, Any] = dict(self.model.inputs.items())
        others.update(of_each)
        pictures = [one.picture for one in group]
        return Batch(canonical(images, axis), pictures, others, axis=axis, each=frozenset(of_each))

    def asked(self, batches: Sequence[Batch], question: str | Sequence[str] | None) -> list[Batch]:
        """The batches with what is asked of their images: of all the same, or of each another question.

        Raises `Error` where the model answers none, or where it must be asked one and is not.
        """
        read, name, images = self.model.question, self.model.name, sum(len(b.pictures) for b in batches)
        question = self.model.prompt if question is None else question
        if read is None and question is not None:
            raise Error(f"{name} answers no questions: ask none, or take a model that does (scenes:vqa).")
        if read is None or (question is None and all(set(b.others) - set(self.model.inputs) for b in batches)):
            return [*batches]
        if question is None:
            raise Error(f'{name} answers questions: ask one, question="what colour is the car?" (`wherefore ask`).')
        texts: list[Any] = [*question] if isinstance(question, list | tuple) else [question] * images
        if len(texts) != images:
            raise Error(f"{len(texts)} questions do not fit {images} images: give one, or one for each image.")
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise Error('the question is empty: ask something, "what colour is the car?".')
        each, found = iter(texts), []
        for batch in batches:
            rows = [read(next(each)) for _ in batch.pictures]
            fed: dict[Key, Any] = {key: _stacked([row[key] for row in rows]) for key in rows[0]}
            found.append(replace(batch, others={**batch.others, **fed}, each=batch.each | frozenset(fed)))
        return found

    # ---------------------------------------------------------------------------------------- one of them

    def open(self, source: str | Path | Subject) -> Subject:
        """What lies in a file, of which nothing is known yet about the part that the network sees; or a text.

        What was opened already stays as it is.
        """
        if isinstance(source, Subject):
            return source
        if self.reads_texts:
            return self._written(source)
        if self.reads_clips and not is_scene(source):
            frames = imaging.read_frames(source)
            return Clip(str(source), lambda: frames, NOT_YET, len(frames))
        if is_scene(source):
            return _of_scene(named(str(source)))
        return Picture(str(source), imaging.read(source), NOT_YET)

    def _written(self, source: str | Path) -> Text:
        """The text that is given, or that lies in a file; what looks like another file is none."""
        path = Path(source)
        lone = isinstance(source, Path) or (
            " " not in str(source) and path.suffix.lower() in {".txt", *imaging.SUFFIXES}
        )
        if not lone:
            text = str(source)
        elif path.suffix.lower() == ".txt" and path.is_file():
            text = path.read_text(errors="replace")
        else:
            raise Error(f"{source} is no text: {self.model.name} reads texts, or files that end in .txt.")
        if not text.strip():
            raise Error(f"{source or 'the text'} is empty.")
        return Text(str(source), (), text)

    def prepare(self, subject: Subject) -> Input:
        """What the network is fed for one picture, clip or text; for those who decode while others compute."""
        if isinstance(subject, Picture) and subject.fed is not None:
            return Input(subject.fed, subject)
        preprocess = self._preprocess
        if isinstance(preprocess, Words):
            return self._text(preprocess, subject)
        if isinstance(preprocess, Frames):
            return self._clip(preprocess, subject)
        if not isinstance(subject, Picture):
            raise Error(f"{self.model.name} looks at pictures: {subject.name} is none.")
        tensor = preprocess(subject.image)
        if not isinstance(tensor, Tensor) or tensor.ndim != 3 or not tensor.is_floating_point():
            got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise Error(f"preprocess must turn a picture into a tensor (C, H, W) of floating-point numbers, not {got}.")
        return Input(tensor, replace(subject, region=self._region(preprocess, subject.size)))

    def _text(self, words: Words, subject: Subject) -> Input:
        if not isinstance(subject, Text):
            raise Error(f"{self.model.name} reads texts: {subject.name} is none.")
        found = {key: value[0] for key, value in words(subject.text).items()}
        ids = found.pop("input_ids")
        return Input(ids, replace(subject, pieces=tuple(words.words(ids, subject.text))), found)

    def _clip(self, preprocess: Frames, subject: Subject) -> Input:
        if isinstance(subject, Picture):  # a video that stands still
            still = [subject.image]
            subject = Clip(subject.name, lambda: still, NOT_YET, 1)
        if not isinstance(subject, Clip):
            raise Error(f"{self.model.name} looks at videos: {subject.name} is none.")
        shown = [subject.frames[i] for i in preprocess.picks(subject.count)]
        region = self._region(preprocess, shown[0].size)
        return Input(preprocess(subject.frames), Clip(subject.name, lambda: shown, region, len(shown)))

    def _region(self, preprocess: Any, size: tuple[int, int]) -> Region:
        region = self._regions.get(size)
        if region is None:
            region = region_seen(preprocess, size)
            if len(self._regions) >= MOST_SIZES:  # a service sees pictures of every size, in several threads
                self._regions.clear()
            self._regions[size] = region
        return region

    def _one(self, image: Any, number: int) -> Input:
        name = f"image {number}"
        if isinstance(image, Input):
            return image
        if isinstance(image, Tensor):
            checked = self._checked(image)
            if len(checked) != 1:
                raise Error(f"{name} is a tensor of {len(checked)} images: in a list give one (C, H, W) for each.")
            axis = channels_axis(checked, self.net)
            return Input(checked[0], self._shown(canonical(checked, axis)[0], number, axis))
        if isinstance(image, (str, Path)):
            return self.prepare(self.open(image))
        if isinstance(image, Scene):
            return self.prepare(_of_scene(image))
        if isinstance(image, np.ndarray):
            picture = imaging.from_array(image)
        elif isinstance(image, Image.Image):
            name = str(getattr(image, "filename", "") or name)
            picture = _decoded(image, name)
        elif self.reads_clips and _is_clip(image):
            frames = [_decoded(frame, name) for frame in image]
            return self.prepare(Clip(name, lambda: frames, NOT_YET, len(frames)))
        else:
            raise Error(f"{type(image).__name__} is no picture: give a path, a PIL picture, an array or a tensor.")
        return self.prepare(Picture(name, picture, NOT_YET))

    @property
    def reads_clips(self) -> bool:
        """Whether the network looks at videos."""
        return isinstance(self.model.preprocess, Frames)

    @property
    def reads_texts(self) -> bool:
        """Whether the network reads texts."""
        return reads_texts(self.model)

    def example(self) -> Batch:
        """Something to run the network on where there is nothing else: noise, with a question, or a sentence."""
        if self.reads_texts:
            return self.together([self.prepare(self.open("The quick brown fox jumps over the lazy dog."))], 1)[0]
        noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
        batches = self.together([self.prepare(Picture("noise", Image.fromarray(noise), NOT_YET))], 1)
        return self.asked(batches, None if self.model.question is None else self.model.prompt or EXAMPLE)[0]

    # ---------------------------------------------------------------------------------------- tensors

    def _checked(self, images: Tensor) -> Tensor:
        """A tensor with a batch dimension that the network can be fed."""
        if not images.is_floating_point():
            if images.ndim == 2 and any(isinstance(m, nn.Embedding) for m in self.net.modules()):
                return images
            raise Error(
                f"a tensor is fed to the network as it is and must hold floating-point numbers, not {images.dtype}; "
                "for preprocessing pass a PIL picture or an array."
            )
        if images.ndim in (2, 3) and is_sequence(self.net):
            return images
        images = images[None] if images.ndim == 3 else images
        if images.ndim not in (4, 5) or 0 in images.shape:
            raise Error(f"a tensor of images is (B, C, H, W), not {tuple(images.shape)}; of videos (B, C, t, H, W).")
        return images

    def _pieces(self, images: Tensor, size: int, inputs: Inputs | None = None) -> list[Batch]:
        """A tensor in pieces, with the parts of the other inputs that belong to its images one by one."""
        if inputs is None:
            images = self._checked(images)
        if 0 in images.shape:
            raise Error(f"there is nothing to explain in a tensor {tuple(images.shape)}.")
        axis = channels_axis(images, self.net)
        images = canonical(images, axis)
        others: dict[Key, Any] = dict(self.model.inputs.items())
        others.update(inputs.others() if inputs else {})
        shown = [self._shown(image, i, axis) for i, image in enumerate(images)]
        main, each = (inputs.main, inputs.of_each()) if inputs else (0, frozenset())
        whole = Batch(images, shown, others, main, axis, each)
        return [whole.part(start, min(start + size, len(images))) for start in range(0, len(images), size)]

    def _shown(self, tensor: Tensor, number: int, axis: int | None) -> Subject:
        """What a tensor ``(C, H, W)``, ``(C, t, H, W)``, ``(C, L)`` or ``(L,)`` shows; drawn when it is looked at.

        ``axis``: where the network wants its channels, in a batch.
        """
        shown, name = tensor.detach().clone(), f"image {number}"  # the caller may use the tensor again
        if not shown.is_floating_point():
            words = self.model.preprocess
            numbers = shown.tolist()
            pieces = words.words(numbers) if isinstance(words, Words) else [f" {i}" for i in numbers]
            return Text(name, tuple(pieces), "".join(pieces))
        if shown.ndim == 2:
            return Signal(name, shown)
        region = (0.0, 0.0, float(shown.shape[-1]), float(shown.shape[-2]))
        if shown.ndim == 3:
            own = shown.movedim(0, (axis or 1) - 1)
            return Picture(name, lambda: self._drawn(shown), region, fed=own)
        return Clip(name, lambda: [self._drawn(f) for f in _common_scale(shown).unbind(1)], region, shown.shape[1])

    def _drawn(self, image: Tensor) -> Image.Image:
        preprocess: Any = self.model.preprocess
        preprocess = preprocess.preprocess if isinstance(preprocess, Frames) else preprocess
        if isinstance(preprocess, Preprocess) and len(image) == 3 and float(image.min()) < 0:
            return preprocess.picture(image)
        return imaging.tensor_picture(image)

    @property
    def _preprocess(self) -> Callable[[Any], Any]:
        preprocess = self.model.preprocess
        if preprocess is None:
            warnings.warn(
                f"{self.model.name} has no preprocess: pictures are prepared as ImageNet's are (short side 256, "
                "crop 224, ImageNet mean and deviation). Pass wf.Model(net, preprocess=...) to say otherwise.",
                stacklevel=4,
            )
            preprocess = Preprocess()
        if self.fit == "squash":
            if not isinstance(preprocess, Preprocess):
                raise Error(
                    "fit='squash' needs a preprocess that can squash: wf.Model(net, preprocess=wf.Preprocess())."
                )
            preprocess = replace(preprocess, squash=True)
        return preprocess


def reads_texts(model: Model) -> bool:
    """Whether a model reads texts."""
    return isinstance(model.preprocess, Words)


def is_scene(source: str | Path) -> bool:
    """Whether it is the name of a scene (``scenes:17``), and no file of that name is there."""
    return str(source).startswith(PREFIX) and not os.path.isfile(source)


def _of_scene(scene: Scene) -> Picture:
    """A scene as a picture; its outlines are those of the same scene drawn as large as it is shown."""
    enlarged = -(-320 // scene.size)
    larger = Scene(scene.world, enlarged * scene.size)
    return Picture(scene.name, scene.image, NOT_YET, larger.truth, enlarged)


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Tensors ``(L, ...)`` as one, the shorter ones filled up with zeros at their ends."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _is_clip(images: Any) -> bool:
    """Whether it is a list of PIL pictures: the frames of one clip."""
    return isinstance(images, (list, tuple)) and bool(images) and all(isinstance(i, Image.Image) for i in images)


def _common_scale(clip: Tensor) -> Tensor:
    """A clip ``(C, t, H, W)`` in 0..1, its frames on one scale; one whose scale is known as it is."""
    low, high = float(clip.min()), float(clip.max())
    return clip if len(clip) == 3 and low < 0 else (clip - min(low, 0.0)) / max(high - min(low, 0.0), 1.0)


def _decoded(image: Image.Image, name: str) -> Image.Image:
    try:
        return imaging.as_rgb(image)
    except (OSError, SyntaxError, ValueError) as error:  # a file is decoded only now
        raise Error(f"{name} cannot be read as a picture ({error}).") from None
