"""Weights from a ``.caffemodel``: the few fields of Caffe's protocol buffers that hold them, read without Caffe.

The numbers of fields are those of ``caffe.proto``, for both kinds of layers that files have: ``V1LayerParameter``
(2014) and ``LayerParameter``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.models.zoo import State

KINDS = {2: (4, 6), 100: (1, 7)}  # of a network's fields those that are layers; in each of these its name and its blobs
LEGACY, SHAPE = (1, 2, 3, 4), 7  # of a blob: number, channels, height, width; else its shape in one
DATA = {5: torch.float32, 8: torch.float64}
HEADS = ("loss1/", "loss2/")  # of GoogLeNet, for training alone
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # how a field is written


def read(path: str | Path) -> dict[str, list[Tensor]]:
    """The blobs of every layer that has any, by the layer's name, in Caffe's shapes.

    Nothing is allocated that the file does not hold. Raises `Error` for a file that is missing, damaged or no
    ``.caffemodel``.
    """
    path = Path(path)
    if not path.is_file():
        raise Error(f"the weights file {path} does not exist.")
    try:
        layers = dict(_layers(np.memmap(path, mode="r").data))
    except (ValueError, OSError) as error:
        raise Error(f"{path} is not a whole .caffemodel ({error}): fetch it anew.") from None
    if not layers:
        raise Error(f"{path} holds no layer with weights: a .caffemodel is wanted, not a .prototxt.")
    return layers


def state(layers: dict[str, list[Tensor]], net: nn.Module) -> State:
    """Blobs as a state dict for a network whose modules bear Caffe's names, with dots for slashes.

    Matrices and biases, which old files write with four axes, get the network's number of axes.
    """
    own, found = net.state_dict(), {}
    for name, blobs in layers.items():
        for part, blob in zip(("weight", "bias"), blobs, strict=False):
            key = f"{name.replace('/', '.')}.{part}"
            if not name.startswith(HEADS):
                found[key] = _with_axes(blob, own[key].ndim) if key in own else blob
    return found


def _with_axes(blob: Tensor, axes: int) -> Tensor:
    extra = blob.ndim - axes
    return blob.reshape(blob.shape[extra:]) if extra > 0 and set(blob.shape[:extra]) == {1} else blob


# -------------------------------------------------------------------------------------------- messages


def _layers(network: memoryview) -> Iterator[tuple[str, list[Tensor]]]:
    for field, value in _fields(network):
        if field in KINDS and isinstance(value, memoryview):
            name_field, blob_field = KINDS[field]
            parts = list(_fields(value))
            blobs = [_blob(part) for number, part in parts if number == blob_field and isinstance(part, memoryview)]
            names = [bytes(part) for number, part in parts if number == name_field and isinstance(part, memoryview)]
            if blobs:
                yield names[-1].decode() if names else "", blobs


def _blob(message: memoryview) -> Tensor:
    """A tensor; a `ValueError` where its shape and its numbers do not go together."""
    legacy, shape = dict.fromkeys(LEGACY, 0), list[int]()
    pieces: dict[int, list[memoryview]] = {number: [] for number in DATA}
    shaped = False
    for field, value in _fields(message):
        if field in LEGACY and isinstance(value, int):
            legacy[field] = value
        elif field == SHAPE and isinstance(value, memoryview):
            shaped, shape = True, _dims(value)
        elif field in DATA and isinstance(value, memoryview):
            pieces[field].append(value)
    kind = next((number for number in DATA if pieces[number]), None)
    shape = shape if shaped else [*legacy.values()]
    if kind is None:
        raise ValueError("a layer's numbers are missing")
    numbers = torch.frombuffer(bytearray().join(pieces[kind]), dtype=DATA[kind])
    if math.prod(shape) != len(numbers):
        raise ValueError(f"{len(numbers):,} numbers for a shape of {shape}")
    return numbers.float().reshape(shape)


def _dims(message: memoryview) -> list[int]:
    """The sizes in a ``BlobShape``, written one by one or packed."""
    sizes: list[int] = []
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            sizes.append(value)
        elif field == 1:
            at = 0
            while at < len(value):
                size, at = _varint(value, at)
                sizes.append(size)
    return sizes


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a message: its number, and an int or the part of the message that is its value."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {EIGHT: 8, FOUR: 4}.get(wire)
        if wire == LENGTH:
            length, at = _varint(message, at)
        if length is None or number == 0:
            raise ValueError("it has fields of no known kind")
        if at + length > len(message):
            raise ValueError("it ends too early")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number written in groups of seven bits, the lowest first, and where the next field begins."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends too early")
        byte, at = message[at], at + 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise ValueError("it has a number of more than ten bytes")
