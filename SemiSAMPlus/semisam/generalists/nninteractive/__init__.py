"""``nninteractive``, through its own package."""
