"""What the user chose, kept with the scene. A project lives on disk; here is only its path."""

from __future__ import annotations

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

NETWORKS = ["unet", "vnet", "unet-3d"]
FRAMEWORKS = ["auto", "mean-teacher", "ua-mt", "dan", "dtc", "sdcl", "copy-paste", "supervised"]
DEVICES = ["auto", "cpu", "cuda", "mps"]


@parameterNodeWrapper
class SemiSAMPlusParameterNode:
    """
    projectPath             folder of the open project, "" for none
    openCase                name of the case that is open, "" for none
    inputVolume             volume for 'Segment this volume'
    minutes                 budget of a round of training
    framework, network, device  as the engine calls them
    workingSpacing          mm of the voxels that the network works on; 0 chosen from the data
    generalists             names of the generalists that may teach; empty for all that are at hand
    overwriteOtherSegments  whether a prompt's answer may take voxels of other segments
    showUncertainty, showDifference  overlays of the review
    confidenceToAccept      proposals from this confidence on are offered by 'Accept all confident'
    """

    projectPath: str
    openCase: str
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    minutes: Annotated[float, WithinRange(0.5, 1440.0), Default(10.0)]
    framework: Annotated[str, Choice(FRAMEWORKS), Default("auto")]
    network: Annotated[str, Choice(NETWORKS), Default("unet")]
    workingSpacing: Annotated[float, WithinRange(0.0, 20.0), Default(0.0)]
    device: Annotated[str, Choice(DEVICES), Default("auto")]
    generalists: list[str]
    overwriteOtherSegments: bool
    showUncertainty: bool
    showDifference: bool
    confidenceToAccept: Annotated[float, WithinRange(0.0, 1.0), Default(0.9)]
