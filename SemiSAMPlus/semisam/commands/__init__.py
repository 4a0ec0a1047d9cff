"""The commands of ``semisam``, one file a group.

Each file has ``add_parsers`` for its options and one function a command, ``run(arguments, console) -> exit code``.
Nothing heavy is imported before a command has checked what it was given.
"""
