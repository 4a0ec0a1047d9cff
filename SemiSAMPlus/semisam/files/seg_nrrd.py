"""The .seg.nrrd format of 3D Slicer: a label map, or several layers of them, with named and colored segments.

The fields are described in Slicer's developer guide ("Segmentation labelmap file format"): ``Segmentation_*`` for the
whole file and ``SegmentN_*`` for each segment. Only binary label maps are read; a mask holds one segment in each voxel,
so segments that overlap are refused, never decided by their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semisam.errors import VolumeError
from semisam.segments import Segment
from semisam.volumes import bounding_box

_BINARY = "Binary labelmap"
_SAVE_AGAIN = "Save the segmentation again in 3D Slicer."


@dataclass(frozen=True)
class StoredSegment:
    """What a file says of one segment: its name ("" if it has none), and where and how its voxels are stored."""

    name: str
    value: int
    layer: int


def stored_segments(path: Path, fields: Mapping[str, str]) -> list[StoredSegment]:
    """The segments that the header fields of a .seg.nrrd file describe, in their order; none for a plain label map."""
    kind = fields.get("Segmentation_SourceRepresentation") or fields.get("Segmentation_MasterRepresentation") or _BINARY
    if kind != _BINARY:
        raise VolumeError(
            f'"{path}" stores its segments as "{kind}". Save the segmentation as a binary labelmap in 3D Slicer.'
        )
    numbers = sorted({int(match[1]) for key in fields if (match := re.match(r"Segment(\d+)_", key))})
    stored = []
    for number in numbers:
        try:
            value = int(fields.get(f"Segment{number}_LabelValue", "1"))
            # Files of Slicer before 4.11 have neither field: each segment is 1 in a layer of its own.
            layer = int(fields.get(f"Segment{number}_Layer", str(number)))
        except ValueError as error:
            raise VolumeError(
                f'The description of segment {number} in "{path}" is damaged. Save it again in 3D Slicer.'
            ) from error
        stored.append(StoredSegment(fields.get(f"Segment{number}_Name", "").strip(), value, layer))
    return stored


def merged_layers(
    path: Path, layers: np.ndarray, stored: Sequence[StoredSegment], segments: Sequence[Segment]
) -> np.ndarray:
    """The layers (n, k, j, i) of a file as one mask (k, j, i) uint8 with the values of ``segments``.

    Segments are matched by name, upper and lower case alike; those without a name by value. A segment of the file that
    is empty may have any name. Raises VolumeError for other unknown segments, doubled names, voxels that belong to no
    described segment, and overlapping segments.
    """
    result = np.zeros(layers.shape[1:], np.uint8)
    by_name = {name.casefold(): segment for segment in segments for name in (*segment.former_names, segment.name)}
    by_value = {segment.value: segment for segment in segments}
    undescribed = layers != 0
    owners: dict[int, str] = {}
    for item in stored:
        if not 0 <= item.layer < len(layers):
            raise VolumeError(f'Segment "{item.name}" in "{path}" names a layer that is not in the file. {_SAVE_AGAIN}')
        voxels = layers[item.layer] == item.value
        undescribed[item.layer] &= ~voxels
        if not voxels.any():
            continue
        segment = by_name.get(item.name.casefold()) if item.name else by_value.get(item.value)
        if segment is None:
            known = ", ".join(f'"{segment.name}"' for segment in segments)
            raise VolumeError(
                f'"{path}" holds the segment "{item.name or item.value}", which the project does not know. The project '
                f"has {known}: rename or remove that segment."
            )
        if segment.value in owners:
            raise VolumeError(f'"{path}" holds the segment "{segment.name}" twice. Merge or rename one of them.')
        owners[segment.value] = segment.name
        shared = voxels & (result != 0)
        if shared.any():
            other = owners[int(result[shared][0])]
            raise VolumeError(
                f'In "{path}" the segments "{other}" and "{segment.name}" overlap in {int(shared.sum())} voxels. '
                "Subtract one from the other in the Segment Editor of 3D Slicer (Logical operators)."
            )
        result[voxels] = segment.value
    if undescribed.any():
        raise VolumeError(f'"{path}" holds voxels that belong to none of its segments. {_SAVE_AGAIN}')
    return result


def segment_fields(voxels: np.ndarray, segments: Sequence[Segment]) -> dict[str, str]:
    """The header fields for a mask (k, j, i) with one layer, as 3D Slicer writes them."""
    fields = {
        "Segmentation_ContainedRepresentationNames": f"{_BINARY}|",
        # The name that all versions read; newer ones call it SourceRepresentation.
        "Segmentation_MasterRepresentation": _BINARY,
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, segment in enumerate(segments):
        box = bounding_box(voxels == segment.value)
        extent = [0, -1, 0, -1, 0, -1]
        if box is not None:
            extent = [edge for part in reversed(box) for edge in (part.start, part.stop - 1)]
        fields |= {
            f"Segment{number}_ID": f"Segment_{segment.value}",
            f"Segment{number}_Name": segment.name,
            f"Segment{number}_NameAutoGenerated": "0",
            f"Segment{number}_Color": " ".join(f"{channel / 255:.6g}" for channel in segment.color),
            f"Segment{number}_ColorAutoGenerated": "0",
            f"Segment{number}_LabelValue": str(segment.value),
            f"Segment{number}_Layer": "0",
            f"Segment{number}_Extent": " ".join(str(edge) for edge in extent),
            f"Segment{number}_Tags": f"TerminologyEntry:{segment.terminology}|" if segment.terminology else "|",
        }
    return fields
