"""semisam: annotation-efficient 3D medical image segmentation, the engine of the SemiSAM+ extension for 3D Slicer.

Arrays are always in (k, j, i) order, that is slice, row, column. Importing this package imports nothing heavy;
torch, MONAI and SimpleITK are loaded by the commands that need them.
"""

__version__ = "0.1.0"
