"""SESS: maps of windows of a picture at several sizes, laid over each other where the windows were cut out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.base_cam import Reshape
from wherefore.compat.pytorch_grad_cam.methods import GradCAM
from wherefore.compat.pytorch_grad_cam.targets import Each, predicted
from wherefore.compat.pytorch_grad_cam.utils.image import Array, scale_cam_image
from wherefore.errors import Error
from wherefore.guard import prepared
from wherefore.imaging import stretched

Target = Callable[[Any], Tensor]
Place = tuple[int, int, int, int]  # left, top of a window, and width, height of the enlarged picture it lies in


class SESS:
    """SESS (Tursun et al. 2022, arXiv 2207.01769): any method's map, finer, of objects of any size and number.

    The picture is enlarged until its shorter side is each of ``scales`` (by default ``num_scales`` of them, from
    ``window_size`` on in steps of ``scale_step_ratio`` of it), and cut into windows ``step_size`` apart. The windows
    but for the share ``pre_filter_ratio`` of lowest scores are explained by ``base_method``; their maps, each times
    its window's score over the highest, are put back and joined: by the mean at every pixel of those above ``theta``,
    or with ``pool="max"`` by the highest. Scores are those of probabilities, by softmax, unless
    ``use_softmax_scores=False``; negative ones are 0.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        base_method: Any = GradCAM,
        scales: Sequence[int] | None = None,
        num_scales: int = 12,
        scale_step_ratio: float = 2 / 7,
        window_size: int | None = None,
        step_size: int | None = None,
        pre_filter_ratio: float = 0.0,
        theta: float = 0.0,
        pool: str = "mean",
        smooth: bool = True,
        use_softmax_scores: bool = True,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> None:
        if pool not in ("mean", "max"):
            raise Error(f"pool is mean or max, not {pool}.")
        if not 0 <= pre_filter_ratio < 1:
            raise Error(f"pre_filter_ratio is a share of the windows, from 0 to below 1, not {pre_filter_ratio}.")
        if num_scales < 1:
            raise Error(f"num_scales is 1 at least, not {num_scales}.")
        self.base_cam = base_method(model, target_layers, reshape_transform, **kwargs)
        self.model, self.device = self.base_cam.model, self.base_cam.device
        self.scales, self.num_scales, self.scale_step_ratio = scales, num_scales, scale_step_ratio
        self.window_size, self.step_size, self.pre_filter_ratio = window_size, step_size, pre_filter_ratio
        self.theta, self.pool, self.smooth = theta, pool, smooth
        self.use_softmax_scores, self.batch_size = use_softmax_scores, batch_size

    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        return self.forward(*args, **kwargs)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[Target] | None = None, eigen_smooth: bool = False
    ) -> Array:
        """The maps ``(B, H, W)`` of images ``(B, C, H, W)``; without targets those of the highest class of each."""
        if input_tensor.ndim != 4:
            raise Error(f"SESS cuts pictures (B, C, H, W), not {tuple(input_tensor.shape)}, into windows.")
        images = input_tensor.detach().to(self.device).split(1)
        if targets is not None and len(targets) != len(images):
            raise Error(f"{len(targets)} targets do not fit {len(images)} images: give one for each image.")
        chosen = [self.get_target(image) for image in images] if targets is None else targets
        pairs = zip(images, chosen, strict=True)
        maps = np.stack([self.forward_single_image(image, target, eigen_smooth) for image, target in pairs])
        for number in np.flatnonzero(~maps.any((1, 2))):
            warnings.warn(f"the map is blank for image {number}: no window speaks for the target.", stacklevel=3)
        return scale_cam_image(maps)

    def forward_single_image(self, input_tensor: Tensor, target: Target | None, eigen_smooth: bool = False) -> Array:
        """The map ``(H, W)`` of one image ``(1, C, H, W)``, not yet scaled."""
        size = input_tensor.shape[-2:]
        window = min(size) if self.window_size is None else self.window_size
        step = window if self.step_size is None else self.step_size
        target = self.get_target(input_tensor) if target is None else target
        patches, places = self.collect_patches(input_tensor, window, step)
        scores = self.get_scores(patches, target)
        kept = scores.argsort(kind="stable")[int(len(scores) * self.pre_filter_ratio) :].tolist()
        highest = scores[kept[-1]]
        weights = scores / highest if highest > 0 else np.ones_like(scores)
        total, count = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for number, cam in self._maps(patches, kept, target, eigen_smooth):
            cam = self.paste_cam(cam * weights[number], places[number], (size[0], size[1]))
            if self.pool == "max":
                total = np.maximum(total, cam)
            else:
                total, count = total + np.where(cam > self.theta, cam, 0), count + (cam > self.theta)
        total /= count.clip(1)
        return gaussian_filter(total, 5, radius=5, mode="mirror") if self.smooth else total

    def get_scales(self, window_size: int) -> Sequence[int]:
        """The sizes of the picture's shorter side."""
        step = round(window_size * self.scale_step_ratio)
        return [window_size + step * n for n in range(self.num_scales)] if self.scales is None else self.scales

    def collect_patches(
        self, input_tensor: Tensor, window_size: int, step_size: int
    ) -> tuple[list[Tensor], list[Place]]:
        """The windows ``(1, C, side, side)`` of all sizes of the picture, and where each was cut out."""
        from torchvision.transforms.functional import resize

        patches: list[Tensor] = []
        places: list[Place] = []
        for scale in self.get_scales(window_size):
            if scale < window_size:
                raise Error(f"the picture at {scale} is smaller than a window of {window_size}: give larger scales.")
            picture = resize(input_tensor, scale)
            height, width = picture.shape[-2:]
            for left, top in sliding_window(height, width, step_size, window_size):
                patches.append(picture[..., top : top + window_size, left : left + window_size])
                places.append((left, top, width, height))
        return patches, places

    def get_target(self, input_tensor: Tensor) -> Target:
        """The highest class of one image."""
        with prepared(self.model), torch.no_grad():
            (found,) = predicted(self.model(input_tensor.clone()))
        return found

    def get_scores(self, patches: Sequence[Tensor], target: Target) -> Array:
        """What the target is for each window, at least 0; the target is asked of each by itself."""
        scores = []
        with prepared(self.model), torch.no_grad():
            for start in range(0, len(patches), self.batch_size):
                output = self.model(torch.cat([*patches[start : start + self.batch_size]]))
                if self.use_softmax_scores:
                    if not isinstance(output, Tensor):
                        raise Error(f"a {type(output).__name__} has no softmax: give use_softmax_scores=False.")
                    output = output.softmax(-1)
                scores.append(Each([target] * len(output)).read(output).float())
        return torch.cat(scores).clamp(min=0).cpu().numpy()

    def paste_cam(self, cam: Array, coordinates: Place, target_size: tuple[int, int]) -> Array:
        """A window's map in its place, zeros around, at the picture's own size."""
        left, top, width, height = coordinates
        whole = torch.zeros(height, width)
        whole[top : top + cam.shape[0], left : left + cam.shape[1]] = torch.from_numpy(cam)
        return stretched(whole, target_size).numpy()

    def _maps(
        self, patches: Sequence[Tensor], kept: Sequence[int], target: Target, eigen_smooth: bool
    ) -> Iterator[tuple[int, Array]]:
        """The numbers of windows and their maps."""
        for start in range(0, len(kept), self.batch_size):
            numbers = kept[start : start + self.batch_size]
            batch = torch.cat([patches[number] for number in numbers])
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "the map of .* is blank")  # many a window holds nothing of it
                maps = self.base_cam(batch, [target] * len(numbers), eigen_smooth=eigen_smooth)
            yield from zip(numbers, maps, strict=True)

    def __enter__(self) -> SESS:
        return self

    def __exit__(self, *error: Any) -> None:
        self.base_cam.__exit__(*error)


def sliding_window(height: int, width: int, step_size: int, window_size: int) -> list[tuple[int, int]]:
    """Left and top of the windows that cover a picture, row by row."""
    rows, columns = (window_starts(length, step_size, window_size) for length in (height, width))
    return [(left, top) for top in rows for left in columns]


def window_starts(length: int, step_size: int, window_size: int) -> list[int]:
    """Where windows start along a side: a step apart, and the last one at the end."""
    if step_size < 1:
        raise Error(f"step_size is 1 pixel at least, not {step_size}.")
    return [*range(0, length - window_size, step_size), max(length - window_size, 0)]
