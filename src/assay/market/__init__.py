"""The panel of bars: returns, health, universe, instrument facts."""
