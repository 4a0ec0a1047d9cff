"""Semi-supervised frameworks behind one protocol (see ``base.py``)."""
