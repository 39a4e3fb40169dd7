"""``python -m wherefore`` is ``wherefore``."""

from wherefore.cli import main

main()
