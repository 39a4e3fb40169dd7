"""The command line: each command a few lines over the library; torch is imported only by commands that need it."""

from wherefore.cli import auditing as _auditing  # noqa: F401  importing them adds their commands to the app
from wherefore.cli import batching as _batching  # noqa: F401
from wherefore.cli import comparing as _comparing  # noqa: F401
from wherefore.cli import deploying as _deploying  # noqa: F401
from wherefore.cli import explaining as _explaining  # noqa: F401
from wherefore.cli import listing as _listing  # noqa: F401
from wherefore.cli import making as _making  # noqa: F401
from wherefore.cli import measuring as _measuring  # noqa: F401
from wherefore.cli import naming as _naming  # noqa: F401
from wherefore.cli import redrawing as _redrawing  # noqa: F401
from wherefore.cli import serving as _serving  # noqa: F401
from wherefore.cli import studying as _studying  # noqa: F401
from wherefore.cli import telling as _telling  # noqa: F401
from wherefore.cli.app import app, main

__all__ = ["app", "main"]
