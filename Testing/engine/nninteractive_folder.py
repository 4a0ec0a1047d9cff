"""A small model folder like those of nnInteractive, whose network answers what can be foretold.

Its two convolutions at full resolution pass all channels on; the last one calls a voxel an object where the weighted
sum of the channels exceeds a bound. So the answer tells which channel held what, and where.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

PATCH = 64
CONFIGURATION = "3d_fullres_ps64"
CHANNELS = 8
# Image, segmentation so far, box +-, clicks +-, scribbles +-.
IMAGE, SO_FAR, BOX, CLICK, NO_CLICK = 0, 1, 2, 4, 5
WEIGHTS = {IMAGE: 1.0, SO_FAR: 40.0, BOX: 40.0, CLICK: 40.0, NO_CLICK: -90.0}
BOUND = 8.0


def architecture() -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [CHANNELS, CHANNELS],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": None,
            "norm_op_kwargs": {},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def network_weights(image: float = 1.0) -> dict[str, torch.Tensor]:
    """The state dictionary, in which one tensor has several names as in published files."""
    shape = (CHANNELS, CHANNELS, 3, 3, 3)
    first, second = torch.zeros(shape), torch.zeros(shape)
    joined = torch.zeros(CHANNELS, 2 * CHANNELS, 3, 3, 3)
    for channel in range(CHANNELS):
        first[channel, channel, 1, 1, 1] = 1
        joined[channel, CHANNELS + channel, 1, 1, 1] = 1
    last = torch.zeros(2, CHANNELS, 1, 1, 1)
    for channel, weight in {**WEIGHTS, IMAGE: image}.items():
        last[1, channel] = weight
    found: dict[str, torch.Tensor] = {}
    convolutions = {"stages.0.0.convs.0": first, "stages.1.0.convs.0": second}
    for place, weight in convolutions.items():
        bias = torch.zeros(CHANNELS)
        for part in ("encoder", "decoder.encoder"):
            _name(found, f"{part}.{place}", weight, bias)
    _name(found, "decoder.stages.0.convs.0", joined, torch.zeros(CHANNELS))
    found["decoder.transpconvs.0.weight"] = torch.zeros(CHANNELS, CHANNELS, 2, 2, 2)
    found["decoder.transpconvs.0.bias"] = torch.zeros(CHANNELS)
    found["decoder.seg_layers.0.weight"] = last
    found["decoder.seg_layers.0.bias"] = torch.tensor([0.0, -BOUND])
    return found


def _name(found: dict[str, torch.Tensor], place: str, weight: torch.Tensor, bias: torch.Tensor) -> None:
    for module in ("conv", "all_modules.0"):
        found[f"{place}.{module}.weight"], found[f"{place}.{module}.bias"] = weight, bias


def write_folder(
    folder: Path,
    session: Any = "nnInteractiveInferenceSessionV3",
    beside: Any = None,
    patch: int = PATCH,
    image: float = 1.0,
) -> Path:
    """The folder, written.

    session  what the older file for the session holds; of a dictionary, the newer one
    beside   lies in the checkpoint beside the weights
    patch    voxels along each axis
    image    the weight of the image
    """
    plans = {
        "dataset_name": "Dataset225_nnInteractiveV2",
        "plans_name": "nnUNetPlans",
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {"spacing": [1.0, 1.0, 1.0], "patch_size": [8, 8, 8]},
            CONFIGURATION: {"inherits_from": "3d_fullres", "patch_size": [patch] * 3, "architecture": architecture()},
        },
    }
    checkpoint = {
        "network_weights": network_weights(image),
        "optimizer_state": torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], 0.01, 0.9).state_dict(),
        "grad_scaler_state": {"scale": 1024.0},
        "logging": {"ema": [np.float64(0.5)], "losses": [np.float32(0.25)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {"plans": plans, "configuration": CONFIGURATION, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnInteractiveTrainer_stub",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "beside": beside,
    }
    (folder / "fold_0").mkdir(parents=True)
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    name = "inference_info.json" if isinstance(session, dict) else "inference_session_class.json"
    dataset = {"channel_names": {"0": "image"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    for file, content in ((name, session), ("plans.json", plans), ("dataset.json", dataset)):
        (folder / file).write_text(json.dumps(content))
    return folder
