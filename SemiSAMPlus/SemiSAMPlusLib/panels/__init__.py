"""The sections of the module panel; each wires some widgets of the .ui file to the session."""
