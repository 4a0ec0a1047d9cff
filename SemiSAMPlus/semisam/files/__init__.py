"""Image and mask files of every format, read and written with their geometry."""
