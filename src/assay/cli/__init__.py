"""The command line: parses, calls, prints. What a command does lives in the rooms below.

Modules here are imported for the commands that they enter, in the order in which ``--help`` lists them; whatever is
heavy they import inside a command, so that ``--help`` stays cheap.
"""

from __future__ import annotations

import sys

from assay.base.errors import Exit
from assay.cli import account, checks, lakes, orders, output, reports, runs, watch  # noqa: F401 - entered in this order
from assay.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    output.take_streams()
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
