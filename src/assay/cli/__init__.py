"""The command line: parses, calls, prints. What a command does lives in the rooms below."""

from __future__ import annotations

import sys

from assay.base.errors import Exit

# Imported for their commands, in the order in which ``--help`` lists them.
from assay.cli import data, proving, reading, running  # noqa: F401 - imported for the commands that they enter
from assay.cli.apps import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
