"""Walk-forward, book, statistics, capital preservation."""
