"""How often the longest loops go round: seldom enough that ``make test-all`` ends within three quarters of an hour.

``ASSAY_<NAME>=number`` asks for another number; the second one is what the documents tell figures of.
"""

from __future__ import annotations

import os

LOOPS = {
    "EDITS": (10_000, 100_000, "random edits of runs, superset and lake"),
    "FORGERIES": (40, 1_000, "random forgeries, sealed anew"),
    "UNIVERSES": (1_500, 10_000, "degenerate markets, decided"),
    "MARKETS": (40, 100, "degenerate markets through all fifteen steps"),
    "INTERLEAVINGS": (200, 1_000, "interleavings of runs and an ingest"),
    "WRITERS": (60, 200, "killed writers of a lake"),
    "SLEEVES": (16, 64, "sleeves on two nodes of Ray, one of which is killed"),
    "FAULTS": (40, 10_000, "faults of a disk of each kind, in each job; 10,000 is every one"),
}
"""What ``make test-all`` does, and what was done once."""


def often(name: str) -> int:
    """Return how often a loop is to go round."""
    usual, _, _ = LOOPS[name]
    return int(os.environ.get(f"ASSAY_{name}", usual))
