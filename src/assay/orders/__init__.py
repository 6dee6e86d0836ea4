"""Rebalance lists that pass the exchange's filters; nothing is sent."""
