"""The whole job on volumes made on the spot."""
