"""The five risk profiles, as estimators in scikit-learn's grammar."""

from assay.risk.optimizers.barbell import Barbell
from assay.risk.optimizers.base import Allocation, Estimates, Optimizer
from assay.risk.optimizers.equal_weight import EqualWeight
from assay.risk.optimizers.hrp import HierarchicalRiskParity
from assay.risk.optimizers.max_sharpe import MaxSharpe
from assay.risk.optimizers.min_variance import MinVariance

__all__ = [
    "Allocation",
    "Barbell",
    "EqualWeight",
    "Estimates",
    "HierarchicalRiskParity",
    "MaxSharpe",
    "MinVariance",
    "Optimizer",
]
