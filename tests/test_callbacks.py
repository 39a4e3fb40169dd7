"""Callbacks during training: sheets are drawn, and training is the same bit for bit as without them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from wherefore.callbacks import LightningMaps, Maps, TrainerMaps

PICTURES = torch.rand(8, 3, 24, 24, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 3
pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own


def network() -> nn.Module:
    """With what training could be altered by: running statistics, dropout, modes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in net.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(x, other[name]) for name, x in one.items())


def trained_by_lightning(callbacks: list[Any], folder: Path, logger: Any = False) -> nn.Module:
    lightning = pytest.importorskip("lightning", reason="needs Lightning")

    class Module(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    torch.manual_seed(3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(PICTURES, LABELS), 4, shuffle=True)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", callbacks=callbacks, logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, loader)
    return module.net


def test_lightning_is_not_altered(tmp_path: Path) -> None:
    plain = state(trained_by_lightning([], tmp_path))
    maps = LightningMaps(PICTURES[:2], target=1, part="net", layer="2", folder=tmp_path / "maps")
    assert same(plain, state(trained_by_lightning([maps], tmp_path)))
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"epoch-000{i}.jpg" for i in (1, 2, 3)]
    with Image.open(tmp_path / "maps/epoch-0003.jpg") as sheet:
        assert sheet.width >= 2 * 24, "two pictures beside each other"
    assert not same(plain, state(network())), "it was trained at all"


def test_a_logger_that_takes_pictures_is_shown_them(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    maps = LightningMaps(PICTURES[:2], part="net", every=2, layer="2", folder=tmp_path / "maps")
    logger = TensorBoardLogger(tmp_path, name="log", version=0)
    trained_by_lightning([maps], tmp_path, logger)
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path / "log/version_0"))
    events.Reload()
    assert [each.step for each in events.Images("wherefore")] == [2]


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.net(x)
        return {"logits": logits} if labels is None else {
            "loss": nn.functional.cross_entropy(logits, labels), "logits": logits
        }  # fmt: skip


def trained_by_transformers(callbacks: list[Any], folder: Path) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    rows = [{"x": x, "labels": y} for x, y in zip(PICTURES, LABELS, strict=True)]
    settings = transformers.TrainingArguments(
        str(folder), num_train_epochs=3, per_device_train_batch_size=4, learning_rate=0.05, report_to=[], seed=3,
        use_cpu=True, save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Classifier()
        transformers.Trainer(model, settings, train_dataset=rows, callbacks=callbacks).train()
    return model


def test_the_trainer_of_transformers_is_not_altered(tmp_path: Path) -> None:
    plain = state(trained_by_transformers([], tmp_path))
    maps = TrainerMaps(PICTURES[:2], target=1, layer="net.2", folder=tmp_path / "maps", every=3)
    assert same(plain, state(trained_by_transformers([maps], tmp_path)))
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["epoch-0003.jpg"]


def test_what_is_drawn_is_the_explanation(tmp_path: Path) -> None:
    net = network().train()
    net[1].running_mean.add_(0.3)
    e = Maps(PICTURES[:2], [0, 1], layer="2", folder=tmp_path).explained(net)
    assert torch.equal(e.maps, wf.explain(net, PICTURES[:2], [0, 1], layer="2").maps) and net.training


def test_random_numbers_go_on_as_they_would(tmp_path: Path) -> None:
    net, maps = network(), Maps(PICTURES[:2], folder=tmp_path, layer="2")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    maps.drawn(net, 1)
    assert torch.equal(torch.rand(3), wanted)


def test_every_so_many_epochs() -> None:
    with pytest.raises(wf.Error, match="1 or more"):
        Maps(PICTURES, every=0)
