"""What every room may know: errors, domain words, atomic files, constants, the estimator's grammar."""
