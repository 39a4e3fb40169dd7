"""Pictures of attributions, drawn by matplotlib: pip install 'wherefore[eval]'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wherefore.compat.captum.attr.running import Refused

Array = npt.NDArray[Any]
SIGNS = ("positive", "absolute_value", "negative", "all")
METHODS = ("heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling")
COLOURS = {"positive": "Greens", "negative": "Reds", "absolute_value": "Blues"}


def visualize_image_attr(
    attr: Array,
    original_image: Array | None = None,
    method: str = "heat_map",
    sign: str = "absolute_value",
    plt_fig_axis: tuple[Any, Any] | None = None,
    outlier_perc: float = 2,
    cmap: Any = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
) -> tuple[Any, Any]:
    """Figure and axes with attributions ``(H, W, C)`` or ``(H, W)`` on their picture ``(H, W, C)``, 0..1 or 0..255.

    The attributions of one sign are divided by the value that leaves ``outlier_perc`` percent of their sum above it.
    """
    if method not in METHODS or sign not in SIGNS:
        raise Refused(f"methods are {', '.join(METHODS)}, signs {', '.join(SIGNS)}; not {method!r}, {sign!r}.")
    if original_image is None and method != "heat_map":
        raise Refused(f"{method} shows the picture: give original_image.")
    figure, axes = _figure(fig_size, use_pyplot) if plt_fig_axis is None else plt_fig_axis
    axes.set(xticks=[], yticks=[])
    drawn = _draw(axes, _scaled(attr, sign, outlier_perc), _bytes(original_image), method, sign, cmap, alpha_overlay)
    if show_colorbar:
        from mpl_toolkits.axes_grid1 import make_axes_locatable  # type: ignore[import-untyped]

        bar = make_axes_locatable(axes).append_axes("bottom", size="5%", pad=0.1)
        if drawn is None:
            bar.axis("off")
        else:
            figure.colorbar(drawn, orientation="horizontal", cax=bar)
    if title:
        axes.set_title(title)
    _show(use_pyplot)
    return figure, axes


def visualize_image_attr_multiple(
    attr: Array,
    original_image: Array | None,
    methods: Sequence[str],
    signs: Sequence[str],
    titles: Sequence[str] | None = None,
    fig_size: tuple[int, int] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """`visualize_image_attr` by several methods side by side: the figure and its axes."""
    if not methods or len(methods) != len(signs) or (titles and len(titles) != len(methods)):
        raise Refused("give as many signs, and titles, as methods, and one at least.")
    figure, axes = _figure(fig_size, use_pyplot, len(methods))
    listed = [axes] if len(methods) == 1 else axes.tolist()
    for number, (method, sign) in enumerate(zip(methods, signs, strict=True)):
        own: dict[str, Any] = {"plt_fig_axis": (figure, listed[number]), "title": titles[number] if titles else None}
        visualize_image_attr(attr, original_image, method, sign, use_pyplot=False, **own, **kwargs)
    figure.tight_layout()
    _show(use_pyplot)
    return figure, listed[0] if len(methods) == 1 else listed


def _figure(size: tuple[int, int], use_pyplot: bool, columns: int = 1) -> tuple[Any, Any]:
    try:
        from matplotlib import pyplot
        from matplotlib.figure import Figure
    except ImportError:
        raise Refused("drawing needs matplotlib: pip install 'wherefore[eval]'.") from None
    figure = pyplot.figure(figsize=size) if use_pyplot else Figure(figsize=size)
    return figure, figure.subplots(1, columns)


def _show(use_pyplot: bool) -> None:
    if use_pyplot:
        from matplotlib import pyplot

        pyplot.show()


def _draw(axes: Any, heat: Array, picture: Any, method: str, sign: str, cmap: Any, alpha: float) -> Any:
    """Draws; returns what a bar of colours belongs to."""
    if method == "original_image":
        axes.imshow(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
        return None
    if method in ("masked_image", "alpha_scaling"):
        if sign == "all":
            raise Refused(f"{method} shows how much, not of which sign: choose another sign than 'all'.")
        shown = picture * heat[..., None] if method == "masked_image" else _layered(picture, heat)
        axes.imshow(shown.astype(int).clip(0, 255))
        return None
    if method == "blended_heat_map":
        axes.imshow(picture.mean(2), cmap="gray")
    low = -1 if sign == "all" else 0
    colours = (_red_to_green() if sign == "all" else COLOURS[sign]) if cmap is None else cmap
    return axes.imshow(heat, cmap=colours, vmin=low, vmax=1, alpha=alpha if method == "blended_heat_map" else None)


def _layered(picture: Array, heat: Array) -> Array:
    return np.concatenate([picture, 255 * heat[..., None]], axis=2)


def _red_to_green() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("RdWhGn", ["red", "white", "green"])


def _bytes(picture: Array | None) -> Any:
    if picture is None or picture.max() > 1:
        return picture
    return (picture * 255).astype(int).clip(0, 255)


def _scaled(attr: Array, sign: str, outlier_perc: float) -> Array:
    """The attributions of a sign, summed over channels, in 0..1, for ``all`` in -1..1; zeros where there are none."""
    if not 0 <= outlier_perc <= 100:
        raise Refused(f"outlier_perc lies between 0 and 100, not at {outlier_perc}.")
    total = attr.sum(2) if attr.ndim == 3 else attr
    change = {"positive": total.clip(min=0), "negative": (-total).clip(min=0), "absolute_value": np.abs(total)}
    values = change.get(sign, total)
    sizes = np.sort(np.abs(values), axis=None)
    sums = sizes.cumsum()
    top = sizes[int((sums >= sums[-1] * (100 - outlier_perc) / 100).argmax())]
    found: Array = (values / top).clip(-1, 1) if top > 0 else np.zeros_like(values)
    return found
