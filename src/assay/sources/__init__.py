"""Where bars come from: files, exchange, archive, ccxt."""
