"""Technical ratings: 26 votes on every bar, three ratings from them, and the values behind each.

The rules are TradingView's, in two editions, as its recorded analyses show them. Bars lie on one tape, listing after
listing (``tape``); what has a memory is computed side by side (``averages``), what has a window along the tape
(``kernels``, ``indicators``); votes are read from indicator values alone (``votes``). :func:`rate` computes whole
listings, :func:`extend` goes on from stored rows, :func:`explain` shows one bar, ``frames`` rates anybody's table, and
``drift`` finds the vote that a screener casts by other rules.
"""

from assay.ratings.explanation import Explanation, VoteEvidence, explain
from assay.ratings.table import RATING_SCHEMA, rate
from assay.ratings.tape import listings
from assay.ratings.update import extend
from assay.ratings.votes import REVISION, VOTES, label

__all__ = [
    "RATING_SCHEMA",
    "REVISION",
    "VOTES",
    "Explanation",
    "VoteEvidence",
    "explain",
    "extend",
    "label",
    "listings",
    "rate",
]
