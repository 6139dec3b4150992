"""Writes the pages that are generated: ``make docs``. With ``--check``, says which lag behind and ends with 1."""  # noqa: INP001 - a script beside pages, no package

import sys

from stemma.cli.document import main

if __name__ == "__main__":
    sys.exit(main())
