"""What the tables between layers must look like: one schema and one check for each layer, L0 to L4.

A *filter* fault drops the named rows or columns and the run goes on without them; a *fatal* fault stops it. Checking
nothing is fatal. The schemas hold the rules that a table can answer alone; the checks add those that need its context.
Importing this package loads Pandera: import it where a check is made.
"""

from assay.gates.contract import ContractResult, Violation
from assay.gates.returns import ReturnsMatrixSchema, SyntheticReturnsSchema, check_l0, check_l3
from assay.gates.scores import FeatureStoreSchema, InferenceSchema, check_l1, check_l2
from assay.gates.weights import WeightsSchema, check_l4

__all__ = [
    "ContractResult",
    "FeatureStoreSchema",
    "InferenceSchema",
    "ReturnsMatrixSchema",
    "SyntheticReturnsSchema",
    "Violation",
    "WeightsSchema",
    "check_l0",
    "check_l1",
    "check_l2",
    "check_l3",
    "check_l4",
]
