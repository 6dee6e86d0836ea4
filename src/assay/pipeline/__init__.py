"""The steps of sleeves and portfolios, and what runs them."""
