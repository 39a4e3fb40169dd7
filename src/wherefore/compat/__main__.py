"""``python -m wherefore.compat pytorch_grad_cam program.py ...`` runs a program with ours in the library's place.

As of python itself, ``-m module`` in the place of ``program.py`` runs a module.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from wherefore.compat import LIBRARIES, install
from wherefore.errors import Error

USAGE = f"say which library and which program: python -m wherefore.compat {{{','.join(LIBRARIES)}}} program.py ..."


def main(arguments: list[str]) -> None:
    """Runs the program as ``python program.py ...`` would; whatever it raises is raised."""
    if len(arguments) < 2 or arguments[1:] == ["-m"]:
        raise Error(USAGE)
    library, program, *rest = arguments
    if library in LIBRARIES and program != "-m" and not Path(program).is_file():
        raise Error(f"there is no program {program}: give the path of a Python file.")
    install(library)
    if program == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [program, *rest]
        sys.path[0] = str(Path(program).resolve().parent)
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Error as error:
        print(error, file=sys.stderr)
        sys.exit(2)
