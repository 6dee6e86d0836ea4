"""Sleeves into one portfolio of physical coins, with the guarantees of a sleeve.

A meta-portfolio is a run like any other: a claimed directory, a manifest that pins each sleeve by run id, ledger head
and seal, intents and outcomes, contracts, gates, a seal. Its steps are in :mod:`assay.pipeline.tables`.
"""
