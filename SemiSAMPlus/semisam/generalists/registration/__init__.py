"""``registration``: alignment and deformation of annotated cases onto a volume."""
