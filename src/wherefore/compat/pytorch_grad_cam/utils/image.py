"""Pictures in, overlays out, and maps scaled to 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.imaging import stretched

Array = npt.NDArray[Any]
JET = 2  # cv2.COLORMAP_JET


def preprocess_image(
    img: Array, mean: Sequence[float] = (0.5, 0.5, 0.5), std: Sequence[float] = (0.5, 0.5, 0.5)
) -> Tensor:
    """A picture ``(H, W, C)``, of bytes or floats in 0..1, as ``(1, C, H, W)``, less the mean over the deviation."""
    values = torch.from_numpy(img if img.ndim == 3 else img[..., None]).movedim(-1, 0)
    values = values.float() / 255 if values.dtype == torch.uint8 else values
    centre, spread = (torch.tensor(each, dtype=values.dtype)[:, None, None] for each in (mean, std))
    return ((values - centre) / spread)[None].contiguous()


def deprocess_image(img: Array) -> Array:
    """Any array as a picture, uint8: mean grey, a tenth of the range for each standard deviation."""
    standard = (img - np.mean(img)) / (np.std(img) + 1e-5)
    return np.asarray(np.clip(standard * 0.1 + 0.5, 0, 1) * 255, dtype=np.uint8)


def show_cam_on_image(
    img: Array, mask: Array, use_rgb: bool = False, colormap: int = JET, image_weight: float = 0.5
) -> Array:
    """The picture ``(H, W, 3)`` under a map ``(H, W)``, both in 0..1, as uint8; colours in BGR unless ``use_rgb``.

    ``colormap`` is one of OpenCV's; all but its default, jet, need it. Raises `Error` for a picture or a map that
    leaves 0..1: bytes would wrap around.
    """
    _check(img, mask, image_weight)
    colours = _colours(colormap)[np.asarray(255 * np.clip(mask, 0, 1), dtype=np.uint8)]
    heat = np.float32(colours if use_rgb else colours[..., ::-1]) / 255
    blended = (1 - image_weight) * heat + image_weight * img
    return np.asarray(255 * (blended / np.max(blended)), dtype=np.uint8)


def show_factorization_on_image(
    img: Array,
    explanations: Array,
    colors: Sequence[Any] | None = None,
    image_weight: float = 0.5,
    concept_labels: Sequence[str] | None = None,
) -> Array:
    """The picture ``(H, W, 3)`` under maps ``(n, H, W)``, all in 0..1, as uint8: at each pixel its highest map's.

    Its colour is as bright as the map is high there. ``colors`` are RGB in 0..1, by default those of matplotlib's
    gist_rainbow; ``concept_labels`` are listed on the right of the picture, on as much space again: both need
    matplotlib. The maps are left as they are. Raises `Error` for what leaves 0..1 and for maps of another size.
    """
    _check(img, explanations, image_weight)
    if explanations.shape[1:] != img.shape[:2]:
        raise Error(f"the maps {explanations.shape[1:]} must be as large as the picture {img.shape[:2]}.")
    count = len(explanations)
    if colors is None:
        shown = _matplotlib().colormaps["gist_rainbow"](np.arange(count) / count)[:, :3]
    else:
        shown = np.array([np.asarray(color)[:3] for color in colors])
    full = np.where(shown.any(1, keepdims=True), shown / shown.max(1, keepdims=True).clip(1e-12), 1)
    heat = full[explanations.argmax(0)] * explanations.max(0)[..., None]
    blended = np.asarray(255 * np.clip(img * image_weight + heat * (1 - image_weight), 0, 1), dtype=np.uint8)
    if concept_labels is None:
        return blended
    return np.hstack((blended, _legend(concept_labels, shown[:count], blended.shape[:2])))


def create_labels_legend(concept_scores: Array, labels: Mapping[int, str], top_k: int = 2) -> list[str]:
    """For each row of scores ``(n, C)`` its highest classes, a line each: a class's first three names and its score."""
    best = np.argsort(concept_scores, axis=1)[:, ::-1][:, :top_k].tolist()
    return [
        "\n".join(f"{','.join(labels[c].split(',')[:3])}:{scores[c]:.2f}" for c in classes)
        for classes, scores in zip(best, concept_scores, strict=True)
    ]


def _legend(labels: Sequence[str], colours: Array, size: Sequence[int]) -> Array:
    """Lines of colours with what they stand for, a picture ``(*size, 3)``, uint8."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    height, width = size
    figure = Figure(((width + 0.5) / 100, (height + 0.5) / 100), dpi=100)  # half a pixel against rounding down
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    lines = [Line2D([], [], color=colour, lw=5 * height / 256) for colour in colours]
    letters = max(1, int(14 * height / 256 / max(1, len(colours) / 6)))
    axes.legend(lines, labels, mode="expand", fancybox=True, shadow=True, fontsize=letters)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise Error("colours and labels of concepts need matplotlib: pip install 'wherefore[eval]'.") from None
    return matplotlib


def _check(img: Array, maps: Array, image_weight: float) -> None:
    """Raises `Error` for a picture, maps or a weight that leave 0..1: bytes would wrap around."""
    if np.max(img) > 1:
        raise Error("the picture must hold floats in 0..1: divide it by 255.")
    if not (np.min(maps) >= 0 and np.max(maps) <= 1 + 1e-6):
        raise Error("the map must lie in 0..1: scale it with scale_cam_image.")
    if not 0 <= image_weight <= 1:
        raise Error(f"image_weight lies between 0 and 1, not at {image_weight}.")


def _colours(colormap: int) -> Array:
    """The 256 colours ``(256, 3)`` of a colour map of OpenCV's, as RGB."""
    if colormap == JET:  # blue, cyan, yellow, red in straight pieces, of OpenCV's whole numbers
        step = 4 * np.arange(256)[:, None]
        return np.minimum(step - [382, 128, -128], [1148, 892, 638] - step).clip(0, 255).astype(np.uint8)
    try:
        import cv2
    except ImportError:
        raise Error("other colour maps than jet are OpenCV's: pip install 'wherefore[eval]'.") from None
    found: Array = np.asarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], colormap))
    return found[:, 0, ::-1]


def scale_cam_image(cam: Array, target_size: Sequence[int] | None = None) -> Array:
    """Maps ``(B, *grid)`` each scaled to 0..1, then enlarged linearly to ``target_size``, its width first; float32.

    A constant map becomes zeros. However small the values are, the highest is 1.
    """
    maps = torch.from_numpy(np.array(cam, dtype=np.float64))
    axes = tuple(range(1, maps.ndim))
    maps = maps - maps.amin(axes, keepdim=True)
    top = maps.amax(axes, keepdim=True)
    maps = torch.where(top > 0, maps / top, 0)
    if target_size is not None:
        maps = stretched(maps, tuple(target_size)[::-1])
    return maps.float().numpy()


def scale_accross_batch_and_channels(tensor: Array, target_size: Sequence[int]) -> Array:
    """Channels ``(B, K, *grid)``, each scaled as `scale_cam_image` does."""
    scaled = scale_cam_image(np.reshape(tensor, (-1, *tensor.shape[2:])), target_size)
    return scaled.reshape(*tensor.shape[:2], *scaled.shape[1:])
