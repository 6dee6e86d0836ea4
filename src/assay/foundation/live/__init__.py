"""Live data: exchange, archive and screener."""
