"""The five risk profiles, as estimators in scikit-learn's grammar."""

from assay.risk.optimizers.base import Allocation, Estimates, Optimizer
from assay.risk.optimizers.optimizers_barbell import Barbell
from assay.risk.optimizers.optimizers_equal_weight import EqualWeight
from assay.risk.optimizers.optimizers_hrp import HierarchicalRiskParity
from assay.risk.optimizers.optimizers_max_sharpe import MaxSharpe
from assay.risk.optimizers.optimizers_min_variance import MinVariance

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
