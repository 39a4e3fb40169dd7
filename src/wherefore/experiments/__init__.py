"""The experiments of the papers, rerun: each a function of a `Lab`, registered with the section that it is about.

    wherefore experiment localization --out results

On scenes by default, on the real data set where it is given. Every one prints the paper's figure beside ours with its
interval, and whether the paper's ordering holds; a reversal is a finding.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from wherefore.experiments import ablations as _ablations  # noqa: F401  importing them fills EXPERIMENTS
from wherefore.experiments import adversarial as _adversarial  # noqa: F401
from wherefore.experiments import answers as _answers  # noqa: F401
from wherefore.experiments import bias as _bias  # noqa: F401
from wherefore.experiments import captions as _captions  # noqa: F401
from wherefore.experiments import claims as _claims  # noqa: F401
from wherefore.experiments import dissection as _dissection  # noqa: F401
from wherefore.experiments import failures as _failures  # noqa: F401
from wherefore.experiments import faithfulness as _faithfulness  # noqa: F401
from wherefore.experiments import labels as _labels  # noqa: F401
from wherefore.experiments import layers as _layers  # noqa: F401
from wherefore.experiments import localization as _localization  # noqa: F401
from wherefore.experiments import looking as _looking  # noqa: F401
from wherefore.experiments import pointing as _pointing  # noqa: F401
from wherefore.experiments import questions as _questions  # noqa: F401
from wherefore.experiments import rejection as _rejection  # noqa: F401
from wherefore.experiments import sanity as _sanity  # noqa: F401
from wherefore.experiments import segmentation as _segmentation  # noqa: F401
from wherefore.experiments import timing as _timing  # noqa: F401
from wherefore.experiments import words as _words  # noqa: F401
from wherefore.experiments.lab import Lab, Settings
from wherefore.experiments.result import Report, Result
from wherefore.guard import one_thread
from wherefore.registry import EXPERIMENTS
from wherefore.saving import can_be_made

__all__ = ["Lab", "Report", "Result", "Settings", "check", "run"]


def check(settings: Settings) -> None:
    """Raises the `Error` of data or a network that cannot be had, before anything is begun."""
    lab = Lab(settings, "")
    lab.dataset()
    lab.networks("vgg")


def run(name: str, settings: Settings | None = None, out: str | Path = "results", **more: Any) -> Report:
    """The report of an experiment; nothing is written but the rows that it keeps under ``out``.

    ``more`` is what one experiment alone takes.

    Stopped and started again, it goes on where it was and ends with the same report. Raises `Error` for an unknown
    name, data that cannot be read, and networks that it cannot use.
    """
    entry = EXPERIMENTS[name]
    settings = settings or Settings()
    lab = Lab(settings, can_be_made(out))
    with one_thread() if settings.small else nullcontext():
        result: Result = entry.run(lab, **more)
    said = {**lab.said(), **result.settings}
    about = entry.about["title"], entry.summary, settings.data, lab.n, lab.comparable, lab.on_scenes
    return Report(name, *about, said, lab.problems, result)
