"""``python -m stemma.cli``: the command line, however it was installed."""

import sys

from stemma.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
