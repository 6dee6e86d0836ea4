"""Technical ratings: 26 votes on every bar, three ratings from them, and the values behind each.

The rules are TradingView's, as its recorded analyses show them. Bars are packed into panels in bar-number space
(``panel``), indicators are computed with NumPy kernels (``kernels``, ``indicators``), votes are read from indicator
values alone (``votes``). :func:`rate` computes whole listings, :func:`extend` goes on from stored rows, and
:func:`explain` shows one bar.
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
