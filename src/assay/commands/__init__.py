"""What each command does, one module for each kind; the command line only parses."""
