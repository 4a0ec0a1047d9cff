"""A host that runs the real widget and logic of a scripted module outside 3D Slicer.

Widgets are real Qt widgets (PySide6), the scene is Slicer's own (slicer-core), and both are reached through proxies
that answer as PythonQt does and refuse what a real Slicer does not have. See `fixtures.py` for tests and `__main__.py`
for the window.
"""
