"""The test host."""
