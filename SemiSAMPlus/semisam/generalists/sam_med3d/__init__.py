"""``sam-med3d``, ``sam-med3d-turbo`` and ``seganypet``: one published 3D architecture."""
