"""Frozen, promptable segmenters behind one protocol (see ``base.py``)."""
