"""What the user asked for: models of settings, the canon, and layered resolution."""

from assay.settings.model import RISK_PROFILES, MetaProfile, Profile, Scanner, Universe
from assay.settings.resolve import Catalog, load

__all__ = ["RISK_PROFILES", "Catalog", "MetaProfile", "Profile", "Scanner", "Universe", "load"]
