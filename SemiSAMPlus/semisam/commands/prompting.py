"""The command ``prompt``: one object from clicks, a box or a mask, by one generalist."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam.commands.options import add_device, add_parser
from semisam.console import Console
from semisam.errors import UsageError
from semisam.segments import Segment, default_color

if TYPE_CHECKING:
    from semisam.generalists.base import Context
    from semisam.prompts import Prompts
    from semisam.volumes import Volume


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    prompt = add_parser(subparsers, common, "prompt", run_prompt, "segment one object from clicks, a box or a mask")
    prompt.add_argument("image", metavar="IMAGE", type=Path, help="an image file or a DICOM folder")
    prompt.add_argument("--generalist", default="nano", help="nano, registration or random-walker")
    point = {"metavar": "K,J,I", "type": _numbers(3), "action": "append", "default": []}
    prompt.add_argument("--point", help="a voxel in the object (slice, row, column); may be repeated", **point)
    prompt.add_argument("--not-point", help="a voxel outside of the object; may be repeated", **point)
    prompt.add_argument(
        "--box", metavar="K0,J0,I0,K1,J1,I1", type=_numbers(6), help="a box round the object; the upper end is outside"
    )
    prompt.add_argument("--mask", metavar="FILE", type=Path, help="a rough mask of the object on the grid of the image")
    prompt.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=".seg.nrrd, .nii.gz, .mha")
    prompt.add_argument("--project", metavar="PROJECT", type=Path, help="annotated cases, for registration")
    prompt.add_argument("--segment", metavar="NAME", help="the segment of --project that is meant")
    add_device(prompt)


def _numbers(count: int) -> Any:
    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f'"{text}" is not a list of numbers') from None
        if len(values) != count:
            raise argparse.ArgumentTypeError(f'"{text}" has {len(values)} numbers instead of {count}')
        return values

    return read


def run_prompt(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.generalists.registry import create, resolve

    if not (arguments.point or arguments.not_point or arguments.box or arguments.mask):
        raise UsageError("Say which object is meant with --point, --box or --mask.")
    if len(resolve(arguments.generalist)) != 1 or arguments.generalist == "auto":
        raise UsageError(f'"{arguments.generalist}" is not one generalist: name one with --generalist.')
    if (arguments.segment is None) != (arguments.project is None):
        raise UsageError("--project and --segment go together: annotated cases, and which of their segments is meant.")
    for path in filter(None, (arguments.image, arguments.mask)):
        if not path.exists():
            raise UsageError(f'"{path}" does not exist: correct its path.')
    segment = Segment(1, "object", default_color(0))
    context, value = _context(arguments)

    from semisam.volume_files import read_image, read_mask, write_mask
    from semisam.volumes import Volume, bounding_box

    image = read_image(arguments.image)
    mask = None
    if arguments.mask is not None:
        mask = read_mask(arguments.mask, [segment], reference=image.geometry).voxels
    prompts = _prompts(arguments, image, mask, value)
    with console.progress("Prompting", events=False) as progress:
        progress.step(0, 2, "encoding")
        started = time.perf_counter()
        generalist = create(arguments.generalist, context)
        loaded = time.perf_counter()
        embedding = generalist.encode(image)
        encoded = time.perf_counter()
        progress.step(1, 2, "predicting")
        probability = generalist.predict(embedding, [prompts])[0]
        predicted = time.perf_counter()
    import numpy as np

    answer = probability >= 0.5
    write_mask(arguments.output, Volume(answer.astype(np.uint8), image.geometry), [segment])
    voxels = int(answer.sum())
    found = bounding_box(answer)
    box = None if found is None else [*(part.start for part in found), *(part.stop for part in found)]
    volume_ml = voxels * image.geometry.voxel_volume / 1000
    if box is None:
        console.say(f'Nothing was found; the mask in "{arguments.output}" is empty.')
    else:
        console.say(f'{volume_ml:.3f} ml, box {_told(box)}; the mask is "{arguments.output}".')
    console.say(f"Encoding took {encoded - loaded:.2f} s, the prompt {predicted - encoded:.2f} s.")
    console.result(
        {
            "mask": str(arguments.output.absolute()),
            "generalist": arguments.generalist,
            "voxels": voxels,
            "volume_ml": volume_ml,
            "box": box,
            "seconds": {
                "load": round(loaded - started, 4),
                "encode": round(encoded - loaded, 4),
                "predict": round(predicted - encoded, 4),
            },
        }
    )
    return 0


def _context(arguments: argparse.Namespace) -> tuple[Context, int]:
    """What the generalist may know, and the value of the segment that is meant (0 for any object)."""
    from semisam.generalists.base import Context, Example

    if arguments.project is None:
        return Context((), arguments.device), 0
    from semisam.project import Project

    project = Project.open(arguments.project)
    values = {segment.name: segment.value for segment in project.segments}
    if arguments.segment not in values:
        raise UsageError(f'There is no segment "{arguments.segment}": choose one of {", ".join(values)}.')
    names = project.training_cases()
    examples = [Example(name, project.image(name), project.annotation(name).voxels) for name in names]
    return Context(examples, arguments.device), values[arguments.segment]


def _prompts(arguments: argparse.Namespace, image: Volume, mask: Any, segment: int) -> Prompts:
    import numpy as np

    from semisam.prompts import Prompts

    size = image.shape
    points = [*arguments.point, *arguments.not_point]
    for point in points:
        if not all(-0.5 <= place < end - 0.5 for place, end in zip(point, size, strict=True)):
            raise UsageError(
                f"The point {_told(point)} lies outside of the image, which has {_told(size)} voxels (k, j, i)."
            )
    box = arguments.box
    if box is not None and not all(0 <= box[n] < box[n + 3] <= size[n] for n in range(3)):
        raise UsageError(
            f"The box {_told(box)} is empty or reaches out of the image, which has {_told(size)} voxels (k, j, i)."
        )
    return Prompts(
        points=np.asarray(points, np.float32).reshape(-1, 3),
        labels=np.repeat(np.array([1, 0], np.uint8), [len(arguments.point), len(arguments.not_point)]),
        box=box,
        mask=None if mask is None else (mask > 0).astype(np.float32),
        segment=segment,
    )


def _told(numbers: Any) -> str:
    return ",".join(f"{number:g}" for number in numbers)
