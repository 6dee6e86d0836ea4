"""How a live source is reached: address, patience, depth of a first load.

Everything here may be set from the environment: ``ASSAY_BINANCE_URL`` is the address of a mirror (with another name of
exchange for others), ``ASSAY_BINANCE_ARCHIVE_URL`` that of the archive; the numbers are ``ASSAY_LIVE__ATTEMPTS=8`` and
so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from assay.base.errors import UsageError
from assay.settings.model import Count, Patience

HOME = "https://api.binance.com"
MIRROR = "https://data-api.binance.vision"
ARCHIVE = "https://data.binance.vision"
LISTING = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"

Hidden = Field(repr=False)
"""An address may hold a login."""


class Access(Patience):
    """Where a live source is and how it is asked."""

    url: Annotated[str | None, Hidden] = None
    """Base address in place of the exchange's own; the paths stay."""
    mirror: bool = False
    """Ask Binance's public mirror of market data where the exchange refuses this country: ``source.mirror``."""
    mirror_url: Annotated[str, Hidden] = MIRROR
    """Where the mirror is."""
    archive_url: Annotated[str, Hidden] = ARCHIVE
    """Where the archive's files are."""
    listing_url: Annotated[str, Hidden] = LISTING
    """Where the archive's bucket is listed."""
    history: Count = 1000
    """Days of a first load; EMA 200 still remembers its seed by 0.03 % after 1,000 bars."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 16
    """Requests in flight."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Share of the exchange's limit that is used; the rest is for others at the same address."""

    @classmethod
    def read(cls, exchange: str, environ: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises
        ------
        UsageError
            If a value is unknown or out of range.

        Examples
        --------
        >>> Access.read("binance", {"ASSAY_BINANCE_URL": "http://mirror", "ASSAY_LIVE__ATTEMPTS": "3"}).attempts
        3
        """
        prefix = f"ASSAY_{exchange.upper()}_"
        addresses = {
            "URL": "url",
            "MIRROR_URL": "mirror_url",
            "ARCHIVE_URL": "archive_url",
            "LISTING_URL": "listing_url",
        }
        found: dict[str, Any] = {
            name: environ[prefix + key].rstrip("/") for key, name in addresses.items() if environ.get(prefix + key)
        }
        if "archive_url" in found:
            found.setdefault("listing_url", found["archive_url"])
        found |= {
            key.removeprefix("ASSAY_LIVE__").lower(): value
            for key, value in environ.items()
            if key.startswith("ASSAY_LIVE__")
        }
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])).upper()
            raise UsageError(
                f"{name}: {first['msg']}", where=f"ASSAY_LIVE__{name}", hint="correct or unset it"
            ) from None
