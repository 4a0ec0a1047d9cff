"""Pictures of a case for the report: three slices through the object, with outlines and uncertainty as layers.

A picture is an SVG of a small JPEG slice, a PNG overlay of the uncertainty, and outlines as vector paths, so that it
stays sharp at every size and each layer can be switched on and off by style sheets.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import numpy as np

from semisam.segments import Segment
from semisam.volumes import Geometry, Volume, bounding_box, canonical

PLANES = ("axial", "coronal", "sagittal")

_PIXELS = 168  # of the longer side of a slice
_MARGIN = 0.35  # of the object's size on each side of it ...
_LEAST_MM = 24.0  # ... and never a smaller field of view than this


@dataclass(frozen=True)
class CasePicture:
    """What there is to see of one case. Masks and ``uncertainty`` (0 to 100) lie on the grid of ``image``.

    masks  layer ("annotation", "proposal", "reference") -> mask with segment values
    """

    image: Volume
    masks: dict[str, Volume] = field(default_factory=dict)
    uncertainty: Volume | None = None


def draw_case(picture: CasePicture, segments: tuple[Segment, ...]) -> list[str]:
    """Three SVG texts: an axial, a coronal and a sagittal slice, the patient's head up, the left side on the right."""
    image = canonical(picture.image)
    masks = {layer: canonical(mask).voxels for layer, mask in picture.masks.items()}
    doubt = None if picture.uncertainty is None else canonical(picture.uncertainty).voxels
    shown = next((masks[layer] for layer in ("annotation", "proposal", "reference") if layer in masks), None)
    centre, window = _view(shown, image.geometry)
    box = _box_in_window(window)
    low, high = np.percentile(image.voxels[box][::2, ::2, ::2], (0.5, 99.5))
    drawings = []
    for axis, plane in enumerate(PLANES):
        slices = {layer: _slice(mask, axis, centre, window) for layer, mask in masks.items()}
        drawings.append(
            _svg(
                _slice(image.voxels, axis, centre, window),
                slices,
                None if doubt is None else _slice(doubt, axis, centre, window),
                [spacing for n, spacing in enumerate(image.spacing) if n != axis],
                (float(low), float(high)),
                segments,
                plane,
            )
        )
    return drawings


def _view(mask: np.ndarray | None, geometry: Geometry) -> tuple[list[int], list[tuple[int, int]]]:
    """The slice to show along each axis, and the window (start, stop) of voxels around the object."""
    box = None if mask is None else bounding_box(mask > 0)
    if mask is None or box is None:
        return [size // 2 for size in geometry.shape], [(0, size) for size in geometry.shape]
    inside = mask[box] > 0
    centre, window = [], []
    for axis, (part, size, spacing) in enumerate(zip(box, geometry.shape, geometry.spacing, strict=True)):
        area = inside.sum(axis=tuple(n for n in range(3) if n != axis))
        # The median slice by area lies within the object also where it is bent, and is never its thin end.
        centre.append(part.start + int(np.searchsorted(np.cumsum(area), area.sum() / 2)))
        extent = max(_LEAST_MM / spacing, (part.stop - part.start) * (1 + 2 * _MARGIN))
        middle = (part.start + part.stop) / 2
        window.append((max(0, int(middle - extent / 2)), min(size, int(np.ceil(middle + extent / 2)))))
    return centre, window


def _box_in_window(window: list[tuple[int, int]]) -> tuple[slice, slice, slice]:
    k, j, i = (slice(start, stop) for start, stop in window)
    return k, j, i


def _slice(voxels: np.ndarray, axis: int, centre: list[int], window: list[tuple[int, int]]) -> np.ndarray:
    """Rows and columns of the picture: head up in the coronal and sagittal planes."""
    plane = np.take(voxels, centre[axis], axis)
    (first, last), (left, right) = (part for n, part in enumerate(window) if n != axis)
    plane = plane[first:last, left:right]
    return plane if axis == 0 else plane[::-1]


def _svg(
    image: np.ndarray,
    masks: dict[str, np.ndarray],
    doubt: np.ndarray | None,
    spacing: list[float],
    intensity: tuple[float, float],
    segments: tuple[Segment, ...],
    plane: str,
) -> str:
    size = np.array(image.shape) * spacing
    height, width = (max(8, round(float(side))) for side in size / size.max() * _PIXELS)
    low, high = intensity
    grey = (np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    parts = [
        f'<svg class="slice" viewBox="0 0 {width} {height}" role="img" aria-label="{plane} slice">'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{_jpeg(grey, width, height)}"/>'
    ]
    if doubt is not None and doubt.max() > 0:
        parts.append(
            f'<image class="uncertainty" width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="{_overlay(doubt, width, height)}"/>'
        )
    scale = np.array([height, width]) / np.array(image.shape)
    for layer in ("reference", "annotation", "proposal"):
        if layer not in masks:
            continue
        for segment in segments:
            path = _outline(masks[layer] == segment.value, scale)
            if path:
                parts.append(f'<path class="outline {layer} segment{segment.value}" d="{path}"/>')
    return "".join(parts) + "</svg>"


def _outline(mask: np.ndarray, scale: np.ndarray) -> str:
    """The border of a mask as the data of an SVG path, in pixels."""
    from skimage.measure import find_contours

    if not mask.any():
        return ""
    lines = []
    for contour in find_contours(np.pad(mask.astype(np.float32), 1), 0.5):
        points = (contour - 0.5) * scale  # the padding moved it by 1, pixel centres lie at 0.5
        steps = " ".join(f"{x:.1f},{y:.1f}" for y, x in points)
        lines.append(f"M{steps}Z")
    return "".join(lines)


def _jpeg(grey: np.ndarray, width: int, height: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(grey).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    picture.save(buffer, "JPEG", quality=68, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _overlay(doubt: np.ndarray, width: int, height: int) -> str:
    """Uncertainty in per cent as a veil of one color: the surer, the clearer."""
    from PIL import Image

    share = Image.fromarray(np.clip(doubt.astype(np.float32) * 1.4, 0, 140).astype(np.uint8))
    # Sixteen steps of opacity keep the file small.
    veil = np.asarray(share.resize((width, height), Image.Resampling.BILINEAR)) // 16 * 16
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = (255, 64, 160)
    pixels[..., 3] = veil
    pixels[veil == 0] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
