"""What the generalists are, whose work, under which licence, and how to get those that do not come with SemiSAM+.

Only for telling people: a generalist works without an entry here. Nothing heavy is imported, nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One generalist in words.

    what     in a few words
    licence  of the weights, or of the code where there are none
    source   where its publisher offers the weights; empty if it needs none
    layout   "module:function" that checks the tensors of a weights file: {name: shape} -> the architecture in words,
             raises ValueError with what does not fit
    folder   "module:function" for weights that are offered as a folder; it reads and checks that: Path -> Published
             (see weights_import.py), raises GeneralistError
    accept   the address of the licence, if it must be accepted in so many words before the weights are imported
    package  Python package (or the part of one) that it needs beside those of SemiSAM+, and what pip calls it
    note     what a reader of its results has to know
    """

    what: str
    licence: str
    source: str = ""
    layout: str = ""
    folder: str = ""
    accept: str = ""
    package: str = ""
    distribution: str = ""
    note: str = ""

    @property
    def needs_weights(self) -> bool:
        return bool(self.source)

    @property
    def package_missing(self) -> bool:
        try:
            return bool(self.package) and importlib.util.find_spec(self.package) is None
        except ModuleNotFoundError:  # what it is a part of
            return True


_MED3D = "semisam.generalists.sam_med3d.network:check_layout"
_SLICES = "semisam.generalists.sam_slices.network:check_layout"
_SEGMENT_ANYTHING = {"layout": _SLICES, "package": "segment_anything", "distribution": "segment-anything"}
_SEEN = "trained on many public data sets, the left atrium challenge of 2018 and BraTS among them: no unseen data there"

ENTRIES = {
    "nano": Entry("a small network, trained on made-up volumes only", "Apache-2.0"),
    "registration": Entry("annotated cases deformed onto the new image", "Apache-2.0"),
    "random-walker": Entry("grows clicks and masks along edges", "Apache-2.0"),
    "grow-cut": Entry("object and background grow until they meet at an edge", "Apache-2.0"),
    "sam-med3d": Entry(
        "SAM-Med3D, 3D, CT and MR",
        "Apache-2.0",
        "sam_med3d.pth of uni-medical/SAM-Med3D (GitHub) or blueyo0/SAM-Med3D (Hugging Face)",
        layout=_MED3D,
        note=_SEEN,
    ),
    "sam-med3d-turbo": Entry(
        "SAM-Med3D, fine-tuned further",
        "Apache-2.0",
        "sam_med3d_turbo.pth of blueyo0/SAM-Med3D (Hugging Face)",
        layout=_MED3D,
        note=_SEEN,
    ),
    "seganypet": Entry(
        "SAM-Med3D, fine-tuned for PET",
        "not stated by its publisher: ask before use",
        "a checkpoint of YichiZhang98/SegAnyPET (Hugging Face)",
        layout=_MED3D,
    ),
    "sam": Entry(
        "Segment Anything (ViT-B, L or H), slice by slice",
        "Apache-2.0",
        "sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth of facebookresearch/segment-anything",
        **_SEGMENT_ANYTHING,
        note="trained on photographs",
    ),
    "medsam": Entry(
        "MedSAM, Segment Anything for medical images, slice by slice",
        "Apache-2.0",
        "medsam_vit_b.pth of bowang-lab/MedSAM",
        **_SEGMENT_ANYTHING,
        note="trained with boxes only",
    ),
    "nninteractive": Entry(
        "nnInteractive, 3D, CT, MR, PET and more",
        "CC BY-NC-SA 4.0, no commercial use",
        "a model folder of MIC-DKFZ/nnInteractive (Hugging Face); its fold_0/checkpoint_final.pth stands for all of it",
        folder="semisam.generalists.nninteractive.folder:read",
        accept="https://creativecommons.org/licenses/by-nc-sa/4.0",
        package="nnInteractive.inference.inference_session",
        distribution="nnInteractive",
        note="trained on more than 120 public data sets: look there before you call data unseen; answers yes or no",
    ),
}


def add_command(name: str) -> str:
    """What to type to import the weights of the generalist ``name``."""
    entry = ENTRIES.get(name)
    return f"semisam generalists add {name} {'FOLDER' if entry and entry.folder else 'FILE'}"


def install_command(name: str) -> str:
    """What to type to install the Python package of the generalist ``name`` for the Python that runs this engine."""
    return f'"{sys.executable or "python"}" -m pip install {ENTRIES[name].distribution}'


def remedy(name: str) -> str:
    """What to do to have the generalist ``name`` at hand; "" if there is nothing to do about it here."""
    entry = ENTRIES.get(name)
    if entry is None:
        return ""
    steps = []
    if entry.package_missing:
        steps.append(install_command(name))
    if entry.needs_weights:
        steps += [f"get {entry.source}", add_command(name)]
    return ", then: ".join(steps)
