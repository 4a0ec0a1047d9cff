"""Between files and the MRML scene. Uses nothing but ``slicer`` and ``vtk``, so it also runs on slicer-core."""
