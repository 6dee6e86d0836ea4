"""L2 and L3: natural selection, enrichment, synthesis."""
