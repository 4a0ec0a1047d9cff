"""Generalists that grow an object from seeds: ``random-walker`` and ``grow-cut``."""
