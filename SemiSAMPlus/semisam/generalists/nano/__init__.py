"""``nano``, the embedded promptable generalist: its network, and where on a volume it looks."""
