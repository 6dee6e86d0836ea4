"""Tables whose versions become visible together."""
