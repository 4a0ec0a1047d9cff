"""The engine as a child process that speaks the JSON-lines protocol of ``PROTOCOL.md``."""
