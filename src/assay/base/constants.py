"""Numbers and array types that more than one room needs; each has one name and stands here only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Quoted, so that the command line starts without NumPy.
Floats: TypeAlias = "npt.NDArray[np.float64]"
Ints: TypeAlias = "npt.NDArray[np.int64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"
Days: TypeAlias = "npt.NDArray[np.datetime64]"
Scalar: TypeAlias = float | int | str | bool | None
"""What a field of a JSON document may hold."""

DAYS_PER_YEAR: Final = 365
"""Annual factor: coins trade every day."""
TOLERANCE: Final = 1e-9
"""Two weights, returns or NAVs that differ by less are equal."""
RATING_TOLERANCE: Final = 1e-12
"""By how much a combined rating may miss the mean of its two parts."""
LISTING_ENDS_AFTER: Final = 3
"""Missing days in a row that end a listing; what comes after them is another listing."""
LARGEST_RETURN: Final = 5.0
"""A day's return above 500 % is a redenomination or a fault of the data, not a gain."""
