"""scikit-learn's estimator grammar without scikit-learn.

Parameters are named in ``__init__`` and stored under their names, ``fit`` learns, learned attributes end in ``_``.
That is all that ``sklearn.base.clone``, pipelines, grid searches and skfolio's splitters ask for.
"""

from __future__ import annotations

import inspect
from typing import Any, Self


class Estimator:
    """Base of selection and optimizers.

    Examples
    --------
    >>> class Scale(Estimator):
    ...     def __init__(self, factor: float = 1.0) -> None:
    ...         self.factor = factor
    >>> Scale(2.0).get_params()
    {'factor': 2.0}
    >>> Scale().set_params(factor=3.0)
    Scale(factor=3.0)
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - the grammar's signature
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; unknown names are refused."""
        for name, value in params.items():
            if name not in self._parameter_names():
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({shown})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags  # only scikit-learn itself asks for tags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))
