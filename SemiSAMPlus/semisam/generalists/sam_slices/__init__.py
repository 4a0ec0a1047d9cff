"""``sam`` and ``medsam``: networks for pictures, asked slice by slice."""
