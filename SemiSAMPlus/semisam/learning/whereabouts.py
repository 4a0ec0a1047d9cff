"""Where the structures of unannotated cases lie, as their proposals tell: there their patches are taken.

In a large field of view most patches from anywhere show background alone, which teaches a specialist little.
"""

from __future__ import annotations

import numpy as np

from semisam.errors import SemiSAMError
from semisam.learning.working import WorkingCase
from semisam.project import Project

# Voxels that are kept of each segment.
_KEPT = 500


class Whereabouts:
    """Looks into the proposals of a project; each is read once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, tuple[str, list[np.ndarray]]] = {}  # sha256 of the proposal and what it tells

    def of(self, case: WorkingCase) -> list[np.ndarray]:
        """For each segment in the proposal of a case some of its voxels, (n, 3) k, j, i float on the working grid.

        Empty without a proposal, with one that a person has rejected, and with one that cannot be read.
        """
        item = self._project.cases.get(case.name)
        record = None if item is None else item.proposal
        if record is None or record.rejected:
            return []
        if case.name not in self._known or self._known[case.name][0] != record.sha256:
            self._known[case.name] = record.sha256, self._read(case)
        return self._known[case.name][1]

    def _read(self, case: WorkingCase) -> list[np.ndarray]:
        try:
            mask = self._project.proposal(case.name)
        except SemiSAMError:
            return []
        found = some_of_each(mask.voxels, _KEPT)
        return [case.geometry.world_to_index(mask.geometry.index_to_world(index)) for index in found]


def some_of_each(mask: np.ndarray, most: int) -> list[np.ndarray]:
    """For each value of a mask but 0, up to ``most`` of its voxels, evenly thinned out: (n, 3) k, j, i, int32."""
    marked = np.flatnonzero(mask)
    values = mask.ravel()[marked]
    places = []
    for value in np.unique(values):
        voxels = marked[values == value]
        voxels = voxels[:: -(-len(voxels) // most)]
        places.append(np.stack(np.unravel_index(voxels, mask.shape), 1).astype(np.int32))
    return places
