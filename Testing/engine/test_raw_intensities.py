"""Some generalists want the intensities of the image file, not those that the specialist learns from."""

from __future__ import annotations

import numpy as np

from semisam.generalists.base import Embedding
from semisam.generalists.cache import EmbeddingCache
from semisam.learning.supervision import GeneralistSupervision
from semisam.learning.working import WorkingSet
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import make_plan


class Looks:
    """Keeps the volumes that it is shown."""

    name, fingerprint = "looks", "looks-1"

    def __init__(self, raw):
        self.seen = []
        if raw:
            self.raw_intensities = True

    def encode(self, volume):
        self.seen.append(volume)
        return Embedding({"shape": np.array(volume.shape)})

    def predict(self, embedding, prompts):
        return np.zeros((len(prompts), *embedding.arrays["shape"]), np.float32)


def test_a_generalist_is_shown_the_intensities_that_it_wants(study, tmp_path):
    project = study.make_project()
    plan = make_plan(take_fingerprint(project), detect("cpu"), ("head", "tail"))
    case = WorkingSet(project, plan)["case3"]
    truth = project.image("case3").voxels
    for raw in (False, True):
        looks = Looks(raw)
        cache = EmbeddingCache(tmp_path / f"{raw}")
        supervision = GeneralistSupervision([looks], cache, plan, [1, 2])
        prediction = np.zeros((3, *case.geometry.shape), np.float32)
        prediction[1, 4:10, 4:10, 4:10] = 1
        for _ in range(2):
            supervision.pseudo_label(case, prediction, np.random.default_rng(0))
        (seen,) = looks.seen
        assert seen.geometry == case.geometry
        if raw:
            assert abs(float(seen.voxels.mean()) - float(truth.mean())) < 3  # about 70
        else:
            assert abs(float(seen.voxels.mean())) < 0.2
