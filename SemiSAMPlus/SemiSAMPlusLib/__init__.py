"""The part of the Slicer module that has no widgets: the engine's worker, the open project, and the scene.

Nothing here imports torch or the engine; the engine is another process that speaks the protocol of
``semisam/worker/PROTOCOL.md``.
"""
