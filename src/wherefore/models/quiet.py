"""Loading without talk: what optional libraries print, log and warn of while they load, and a user cannot mend."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from wherefore.models.zoo import extra

TALKATIVE = ("transformers", "timm", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Errors alone are logged and nothing is warned of; bars of downloads stay where there is a terminal."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    terminal = sys.stderr.isatty()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with (
            warnings.catch_warnings(),
            _bars(terminal),
            # torch announces a download on stdout, where the results go
            redirect_stdout(sys.stderr if terminal else io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Progress bars of the hub's client and of transformers, where they are shown."""
    switches = [("huggingface_hub.utils", "disable_progress_bars", "enable_progress_bars")]
    if "transformers" in sys.modules:
        switches.append(("transformers.utils.logging", "disable_progress_bar", "enable_progress_bar"))
    modules = [(extra(module), off, on) for module, off, on in switches]
    were_on = not modules[0][0].are_progress_bars_disabled()
    if were_on and not shown:
        for module, off, _ in modules:
            getattr(module, off)()
    try:
        yield
    finally:
        if were_on and not shown:
            for module, _, on in modules:
                getattr(module, on)()
