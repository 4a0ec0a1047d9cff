"""Commands that learn and predict: train, propose, segment, pretrain."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam import logs
from semisam.commands.options import add_device, add_parser, add_project, count, ending, natural, not_negative, positive
from semisam.console import Console
from semisam.errors import TrainingError, UsageError, raise_all
from semisam.learning.frameworks.registry import FRAMEWORKS, check_framework
from semisam.progress import duration
from semisam.specialists.sizes import DEFAULT_NETWORK, NETWORKS, check_network
from semisam.worker import stop_signal

if TYPE_CHECKING:
    from semisam.project import Project


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    train = add_parser(
        subparsers, common, "train", run_train, "learn from the annotated and unannotated cases, then propose masks"
    )
    add_project(train)
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive, help="how long to train (10 without either)")
    budget.add_argument("--steps", type=count, help="how many steps to train")
    frameworks = ", ".join(FRAMEWORKS)
    train.add_argument("--framework", default="auto", help=f"how unannotated cases are used: auto, {frameworks} (auto)")
    networks = ", ".join(name for name in NETWORKS if name != DEFAULT_NETWORK)
    train.add_argument(
        "--network",
        help=f"what learns: {DEFAULT_NETWORK}, or for GPUs {networks} (as the plan says; another starts anew)",
    )
    train.add_argument(
        "--spacing",
        metavar="MM",
        type=not_negative,
        help="voxel size to work at, 0 to choose it from the data (as the plan says; another starts anew)",
    )
    train.add_argument("--generalist", default="auto", help="auto, none, or names with commas: nano,registration,...")
    train.add_argument("--seed", type=natural, default=0)
    add_device(train)
    train.add_argument("--fresh", action="store_true", help="begin anew; the model is kept in models/previous")

    propose = add_parser(subparsers, common, "propose", run_propose, "write a proposal for every unannotated case")
    add_project(propose)
    add_device(propose)

    segment = add_parser(subparsers, common, "segment", run_segment, "segment new images with the trained specialist")
    add_project(segment)
    segment.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="an image file or a DICOM folder")
    segment.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder for the masks")
    add_device(segment)

    pretrain = add_parser(
        subparsers, common, "pretrain", run_pretrain, "train the generalist nano from scratch on made-up volumes"
    )
    pretrain.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder of the run")
    length = pretrain.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=positive, help="length of the run in minutes, earlier parts included")
    length.add_argument("--steps", type=count, help="length of the run in steps, earlier parts included")
    pretrain.add_argument("--seed", type=natural, default=0)
    pretrain.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    pretrain.add_argument(
        "--start-from", metavar="FILE", type=Path, help="begin with the weights of an earlier run (nano.safetensors)"
    )
    pretrain.add_argument("--workers", type=count, default=1, help="processes that make volumes (1)")
    pretrain.add_argument("--threads", type=count, default=1, help="threads of the training itself (1)")
    pretrain.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")


def run_train(arguments: argparse.Namespace, console: Console) -> int:
    stop = stop_signal.install()
    from semisam.generalists.registry import check
    from semisam.project import Project

    # Wrong names, and weights that are not here, are told before anything heavy is loaded.
    check(arguments.generalist)
    check_framework(arguments.framework)
    if arguments.network is not None:
        check_network(arguments.network)
    project = Project.open(arguments.project)
    if not project.training_cases():
        raise TrainingError(f'No case of "{project.path}" is annotated yet: annotate at least one, then train.')
    logs.keep_in(project.log_dir)
    with console.progress("Training") as progress:
        progress({"event": "progress", "fraction": 0.0, "text": "getting ready"})
        from semisam.learning.loop import TrainOptions, train

        options = TrainOptions(
            minutes=arguments.minutes,
            steps=arguments.steps,
            framework=arguments.framework,
            network=arguments.network,
            spacing=arguments.spacing,
            generalist=arguments.generalist,
            seed=arguments.seed,
            device=arguments.device,
            fresh=arguments.fresh,
        )
        summary = train(project, options, progress, stop)
    if summary.get("finished", True):
        console.say(
            f"Trained for {duration(summary['seconds'])} ({summary['steps']} steps) from {summary['annotated']} "
            f"annotated cases; {summary['proposals']} proposals are ready."
        )
        console.say(f'Next: semisam status "{arguments.project}", or semisam report "{arguments.project}"')
    else:
        console.say(
            f"{stop.reason} What was learned in {duration(summary['seconds'])} is kept; the same command goes on."
        )
    console.result(summary)
    return ending(stop)


def run_propose(arguments: argparse.Namespace, console: Console) -> int:
    stop = stop_signal.install(notice=stop_signal.ENDING)
    from semisam.project import Project

    project = Project.open(arguments.project)
    _check_trained(project)
    logs.keep_in(project.log_dir)
    with console.progress("Proposing") as progress:
        from semisam.predict import propose

        written = propose(project, progress, stop, device=arguments.device)
    stopped = f" {stop.reason}" if stop() else ""
    console.say(f'{written} proposals are in "{project.path / "proposals"}".{stopped}')
    console.result({"proposals": written, "stopped": stop()})
    return ending(stop)


def run_segment(arguments: argparse.Namespace, console: Console) -> int:
    stop_signal.exit_when_asked()
    from semisam.project import Project
    from semisam.project.outputs import mask_files

    project = Project.open(arguments.project)
    for image in arguments.images:
        if not image.exists():
            raise UsageError(f'The image "{image}" does not exist: correct its path.')
    if arguments.output.exists() and not arguments.output.is_dir():
        raise UsageError(f'"{arguments.output}" is a file: name a folder for the masks with -o.')
    # Prediction would tell this too, but only after torch is loaded.
    mask_files(project, arguments.images, arguments.output)
    _check_trained(project)
    logs.keep_in(project.log_dir)
    with console.progress("Segmenting") as progress:
        from semisam.predict import segment

        results, problems = segment(project, arguments.images, arguments.output, progress, device=arguments.device)
    names = [item.name for item in project.segments]
    if results:
        console.table(
            ["mask", "confidence", *(f"{name} ml" for name in names), "seconds"],
            [
                [item["mask"], item["confidence"], *(item["volumes_ml"].get(name) for name in names), item["seconds"]]
                for item in results
            ],
        )
    raise_all(problems, f"{len(problems)} of {len(arguments.images)} images have no mask.")
    console.result({"results": results})
    return 0


def _check_trained(project: Project) -> None:
    """Prediction would tell this too, but only after torch is loaded."""
    if not (project.models_dir / "specialist.json").exists():
        raise TrainingError(f'"{project.path}" has no trained model yet: run "semisam train" first.')


def run_pretrain(arguments: argparse.Namespace, console: Console) -> int:
    stop = stop_signal.install()
    with console.progress("Pre-training") as progress:
        from semisam.pretraining.trainer import pretrain

        summary = pretrain(
            arguments.output,
            minutes=arguments.minutes,
            steps=arguments.steps,
            seed=arguments.seed,
            resume=arguments.resume,
            start_from=arguments.start_from,
            workers=arguments.workers,
            threads=arguments.threads,
            device=arguments.device,
            on_event=progress,
            should_stop=stop,
        )
    console.say(f'{summary["steps"]} steps in {duration(summary["seconds"])}; weights: "{summary["weights"]}".')
    if stop():
        console.say(f"{stop.reason} Go on with --resume.")
    console.result(summary)
    return ending(stop)
