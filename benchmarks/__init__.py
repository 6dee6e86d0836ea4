"""What ``make bench`` measures; every script checks answers before it times them."""
