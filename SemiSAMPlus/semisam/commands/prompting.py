"""The command ``prompt``: one object from clicks, a box or a mask, by one generalist."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semisam.commands.options import add_device, add_parser
from semisam.console import Console
from semisam.errors import UsageError


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    prompt = add_parser(subparsers, common, "prompt", run_prompt, "segment one object from clicks, a box or a mask")
    prompt.add_argument("image", metavar="IMAGE", type=Path, help="an image file or a DICOM folder")
    prompt.add_argument("--generalist", default="nano", help="one of those that semisam generalists list shows (nano)")
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
    from semisam.generalists.registry import resolve

    if not (arguments.point or arguments.not_point or arguments.box or arguments.mask):
        raise UsageError("Say which object is meant with --point, --box or --mask.")
    if len(resolve(arguments.generalist)) != 1 or arguments.generalist == "auto":
        raise UsageError(f'"{arguments.generalist}" is not one generalist: name one with --generalist.')
    if (arguments.segment is None) != (arguments.project is None):
        raise UsageError("--project and --segment go together: annotated cases, and which of their segments is meant.")
    for path in filter(None, (arguments.image, arguments.mask)):
        if not path.exists():
            raise UsageError(f'"{path}" does not exist: correct its path.')

    from semisam.worker.interactive import PromptRequest, PromptService, Subject

    request = PromptRequest(
        Subject(arguments.image, arguments.generalist),
        arguments.output,
        points=[*arguments.point, *arguments.not_point],
        labels=[1] * len(arguments.point) + [0] * len(arguments.not_point),
        box=arguments.box,
        mask=arguments.mask,
        segment=arguments.segment,
    )
    with console.progress("Prompting", events=False) as progress:
        progress.step(0, 1, arguments.image.name)
        answer = PromptService(arguments.project, device=arguments.device).prompt(request)
    if answer.box is None:
        console.say(f'Nothing was found; the mask in "{arguments.output}" is empty.')
    else:
        box = ",".join(str(end) for end in answer.box)
        console.say(f'{answer.volume_ml:.3f} ml, box {box}; the mask is "{arguments.output}".')
    seconds = answer.seconds
    console.say(f"Encoding took {seconds['encode']:.2f} s, the prompt {seconds['predict']:.2f} s.")
    console.result(
        {
            "mask": str(arguments.output.absolute()),
            "generalist": arguments.generalist,
            "voxels": answer.voxels,
            "volume_ml": answer.volume_ml,
            "box": answer.box,
            "seconds": seconds,
        }
    )
    return 0
