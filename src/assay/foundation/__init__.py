"""L0 and L1: market data, lake, ratings, scanners, audits."""
