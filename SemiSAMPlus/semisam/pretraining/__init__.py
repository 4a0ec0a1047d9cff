"""Training of the embedded generalist `nano` on procedurally generated volumes only."""
