"""The losses of each framework against its paper, on a few voxels worked out by hand."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch

from frameworks_kit import SIZE, labelled, logits_of, make, one_hot, unlabelled, voxels
from semisam.learning.frameworks.base import Network
from semisam.learning.frameworks.copy_paste import mix
from semisam.learning.frameworks.dan import adversarial_loss, evaluation_loss
from semisam.learning.frameworks.dtc import dual_task_loss, signed_distance
from semisam.learning.frameworks.sdcl import correction_losses, discrepancy
from semisam.learning.frameworks.ua_mt import certain_consistency, dropout, threshold, uncertainty
from semisam.learning.losses import segmentation_loss


class TestUAMT:
    """Yu et al., MICCAI 2019."""

    def test_uncertainty_is_the_entropy_of_the_mean_of_the_passes(self) -> None:
        """Eq. 2. First voxel: (1, 0) and (0, 1) have the mean (1/2, 1/2) and thus ln 2, although each is certain."""
        passes = [torch.tensor([[1.0, 0.9], [0.0, 0.1]]), torch.tensor([[0.0, 0.7], [1.0, 0.3]])]
        found = uncertainty([one[None, :, None, None] for one in passes])
        assert found.shape == (1, 1, 1, 1, 2)
        assert found.flatten().tolist() == pytest.approx([log(2), -(0.8 * log(0.8) + 0.2 * log(0.2))], rel=1e-5)

    def test_the_threshold_rises_from_three_quarters_of_the_largest_entropy_to_all_of_it(self) -> None:
        assert threshold(0.0, 2) == pytest.approx((0.75 + 0.25 * exp(-5)) * log(2))
        assert threshold(0.5, 2) == pytest.approx((0.75 + 0.25 * exp(-1.25)) * log(2))
        assert threshold(1.0, 2) == pytest.approx(log(2))
        assert threshold(1.0, 4) == pytest.approx(log(4))

    def test_only_certain_voxels_count(self) -> None:
        """Eq. 3 with u = (0.1, 0.3, 0.6) and H = 0.5: voxels 1 and 2, differences 0.2 and 0.4, so (0.04 + 0.16) / 2."""
        student = torch.tensor([[0.8, 0.6, 0.1], [0.2, 0.4, 0.9]])[None, :, None, None]
        teacher = torch.tensor([[1.0, 0.2, 0.9], [0.0, 0.8, 0.1]])[None, :, None, None]
        doubt = voxels([0.1, 0.3, 0.6])
        assert float(certain_consistency(student, teacher, doubt, 0.5)) == pytest.approx(0.1)
        assert float(certain_consistency(student, teacher, doubt, 0.05)) == 0
        # A second item without certain voxels halves the mean and does not lend its voxels to the first one.
        two = (torch.cat([value, value]) for value in (student, teacher))
        assert float(certain_consistency(*two, torch.cat([doubt, doubt + 1]), 0.5)) == pytest.approx(0.05)

    def test_dropout_is_that_of_channels_at_two_places_and_differs_from_item_to_item(self) -> None:
        _, student, _ = make("ua-mt")
        image = labelled().image
        seen: list[torch.Tensor] = []
        with torch.no_grad(), dropout(student):
            hook = student.module.output_layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
            student(torch.cat([image, image]))
            hook.remove()
        off = (seen[0] == 0).flatten(2).all(2)
        assert 0.2 < off.float().mean() < 0.8
        assert not torch.equal(off[:2], off[2:])


class TestDAN:
    """Zhang et al., MICCAI 2017."""

    def test_the_losses_are_the_cross_entropies_of_the_game(self) -> None:
        """E says 0.8 and 0.5 of annotated segmentations, 0.25 of an unannotated one."""
        annotated = torch.tensor([0.8, 0.5]).logit()
        unannotated = torch.tensor([0.25]).logit()
        evaluation = -(log(0.8) + log(0.5)) / 2 - log(1 - 0.25)
        assert float(evaluation_loss(annotated, unannotated)) == pytest.approx(evaluation, rel=1e-5)
        assert float(adversarial_loss(unannotated)) == pytest.approx(-log(0.25), rel=1e-5)

    def test_each_network_is_moved_by_its_own_loss_only(self) -> None:
        framework, student, teacher = make("dan")
        result = framework.step(student, teacher, labelled(), unlabelled(), 0.5)
        assert result.own is not None
        own, learner = list(framework.own.parameters()), list(student.module.parameters())
        gradients = torch.autograd.grad(result.consistency, own + learner, retain_graph=True, allow_unused=True)
        assert all(value is None for value in gradients[: len(own)])
        assert sum(float(value.abs().sum()) for value in gradients[len(own) :] if value is not None) > 0
        gradients = torch.autograd.grad(result.own, own + learner, allow_unused=True)
        assert all(value is not None for value in gradients[: len(own)])
        assert all(value is None for value in gradients[len(own) :])

    def test_the_evaluator_learns_to_tell_good_segmentations_from_poor_ones(self) -> None:
        framework, _, _ = make("dan")
        evaluator = framework.own["evaluator"]
        optimizer = torch.optim.AdamW(evaluator.parameters(), lr=2e-3)
        image, good = labelled().image, labelled().target
        poor = torch.full_like(good, 1 / 3)
        losses = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = evaluation_loss(evaluator(good, image), evaluator(poor, image))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]
        assert evaluator(good, image).min() > evaluator(poor, image).max()


class TestDTC:
    """Luo et al., AAAI 2021."""

    def test_the_level_set_function_is_the_signed_distance_to_the_border(self) -> None:
        """Eq. 1 on 0011111000: 2 1 | 0 -1 -2 -1 0 | 1 2 3 voxels, divided by 2 inside and by 3 outside."""
        mask = voxels([0, 0, 1, 1, 1, 1, 1, 0, 0, 0])
        expected = [2 / 3, 1 / 3, 0, -0.5, -1, -0.5, 0, 1 / 3, 2 / 3, 1]
        assert signed_distance(mask, (1, 1, 1)).flatten().tolist() == pytest.approx(expected)

    def test_distances_are_in_mm_and_of_each_segment_and_item_alone(self) -> None:
        mask = torch.zeros(2, 2, 5, 1, 5)
        mask[0, 0, 2, 0, 2] = 1
        found = signed_distance(mask, (3.0, 1.0, 1.0))
        across, along = float(found[0, 0, 1, 0, 2]), float(found[0, 0, 2, 0, 1])
        assert across == pytest.approx(3 * along)
        assert found[0, 0, 2, 0, 2] == 0  # a single voxel is all border
        assert (found[0, 1] == 1).all() and (found[1] == 1).all()  # nothing there: all is outside
        assert (signed_distance(1 - 0 * mask, (1, 1, 1)) == -1).all()

    def test_the_consistency_compares_with_the_steep_inverse(self) -> None:
        """z = 0 is 1/2; z = ln(3) / 1500 is 1 / (1 + 3); far inside and outside are 1 and 0."""
        distance = voxels([0.0, log(3) / 1500, -0.5, 0.5])
        probability = voxels([0.5, 0.75, 0.9, 0.3])
        expected = (0 + 0.5**2 + 0.1**2 + 0.3**2) / 4
        assert float(dual_task_loss(probability, distance)) == pytest.approx(expected, rel=1e-4)

    def test_the_inverse_undoes_the_level_set_function_but_for_the_border(self) -> None:
        target = one_hot(3)[:, 1:]
        distance = signed_distance(target, (1, 1, 1))
        off_border = distance != 0
        assert torch.equal(torch.sigmoid(-1500 * distance)[off_border].round(), target[off_border])

    def test_the_supervised_loss_has_the_distances_of_the_annotation(self) -> None:
        """beta = 0.3: a head that is 0 everywhere (tanh of 0) adds 0.3 times the mean square of the true distances."""
        framework, student, _ = make("dtc")
        plain = make("supervised")[0].supervised(student, labelled()).supervised
        for parameter in framework.own.parameters():
            torch.nn.init.zeros_(parameter)
        truth = signed_distance(labelled().target[:, 1:], (1, 1, 1))
        found = framework.supervised(student, labelled()).supervised
        assert float((found - plain).detach()) == pytest.approx(0.3 * float((truth**2).mean()), rel=1e-3)


class TestBCP:
    """Bai et al., CVPR 2023."""

    @pytest.fixture
    def mixed(self):
        """Images of 7 (annotated) and 5 (not), masks of class 1 and, by the teacher, of class 2."""
        other = unlabelled()
        weak, strong = torch.full_like(other.weak, 4.0), torch.full_like(other.weak, 5.0)
        truth = torch.zeros_like(labelled().target)
        truth[:, 1] = 1
        one = type(labelled())(torch.full_like(weak, 7.0), truth)
        other = type(other)(weak, strong, other.probability, other.uncertainty, other.valid, other.trust)

        def teacher(image: torch.Tensor) -> torch.Tensor:
            assert torch.equal(image, weak)
            return torch.tensor([0.0, 1.0, 2.0]).reshape(1, 3, 1, 1, 1).expand(2, 3, *SIZE)

        return mix(teacher, one, other, np.random.default_rng(0))  # type: ignore[arg-type]

    def test_the_box_goes_both_ways(self, mixed) -> None:
        """Eqs. 1 and 2: what is annotated in X_in is not in X_out, and image, mask and weight agree everywhere."""
        inward, outward = mixed.image[:2], mixed.image[2:]
        assert torch.equal(inward + outward, torch.full_like(inward, 12.0))
        assert torch.equal(mixed.annotated, (mixed.image == 7).float())
        assert torch.equal(mixed.target[:, 1:2], mixed.annotated)
        assert torch.equal(mixed.target[:, 2:3], 1 - mixed.annotated)

    def test_it_is_one_box_of_two_thirds_of_each_side(self, mixed) -> None:
        found = torch.nonzero(mixed.annotated[0, 0])
        side = (found.amax(0) - found.amin(0) + 1).tolist()
        assert side == [round(size * 2 / 3) for size in SIZE]
        assert len(found) == np.prod(side)
        assert torch.equal(mixed.annotated[0], mixed.annotated[1])

    def test_the_unannotated_patch_is_put_together_again(self, mixed) -> None:
        assert torch.equal(mixed.unlabelled_part(mixed.image), torch.full((2, 1, *SIZE), 5.0))

    def test_annotated_voxels_count_one_and_the_teachers_alpha(self) -> None:
        """A student that says 1/3 everywhere: cross-entropy ln 3 on both parts, 1 - Dice from the counts of voxels."""
        framework, _, teacher = make("copy-paste")

        def student(image: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(image), 3, *SIZE)

        result = framework.step(student, teacher, labelled(), unlabelled(), 0.5)  # type: ignore[arg-type]
        framework, _, teacher = make("copy-paste")  # the same box again
        mixture = mix(teacher, labelled(), unlabelled(), framework.setting.rng)
        for found, alpha, part in (
            (result.supervised, 1.0, mixture.annotated),
            (result.consistency, 0.5, 1 - mixture.annotated),
        ):
            count = float(part.sum())
            dice = [
                (2 / 3 * own + 1) / (count / 3 + own + 1)
                for own in (float((mixture.target[:, label : label + 1] * part).sum()) for label in (1, 2))
            ]
            assert float(found) == pytest.approx(alpha * (log(3) + 1 - sum(dice) / 2), rel=1e-5)


class TestSDCL:
    """Song and Wang, MICCAI 2024."""

    # Four voxels of two classes. The students differ in the second and third, where the first one is wrong, then right.
    FIRST = [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]]
    SECOND = [[0.8, 0.2], [0.1, 0.9], [0.7, 0.3], [0.4, 0.6]]
    TARGET = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])[None, :, None, None]

    def test_the_discrepancy_is_where_the_masks_differ(self) -> None:
        assert discrepancy(logits_of(self.FIRST), logits_of(self.SECOND)).flatten().tolist() == [0, 1, 1, 0]

    def test_correct_by_the_target_and_doubt_where_wrong(self) -> None:
        """w = 0.5 for the second voxel, 1 for the third: squares 0.6^2 and 0.3^2; KL(1/2 || (0.6, 0.4)) of one."""
        logits = logits_of(self.FIRST)
        differ = discrepancy(logits, logits_of(self.SECOND))
        square, divergence = correction_losses(logits, self.TARGET, voxels([1.0, 0.5, 1.0, 1.0]), differ)
        assert float(square) == pytest.approx((0.5 * 0.36 + 0.09) / 2, rel=1e-5)
        kl = 0.5 * log(0.5 / 0.6) + 0.5 * log(0.5 / 0.4)
        assert float(divergence) == pytest.approx(0.5 * kl, rel=1e-4)

    def test_students_that_agree_have_nothing_to_correct(self) -> None:
        logits = logits_of(self.FIRST)
        same = discrepancy(logits, logits)
        square, divergence = correction_losses(logits, self.TARGET, torch.ones_like(same), same)
        assert float(square) == float(divergence) == 0

    def test_doubt_moves_a_wrong_voxel_towards_the_uniform_distribution(self) -> None:
        logits = logits_of(self.FIRST).requires_grad_()
        differ = voxels([0.0, 1.0, 1.0, 0.0])
        (gradient,) = torch.autograd.grad(correction_losses(logits, self.TARGET, torch.ones(1), differ)[1], logits)
        assert gradient[0, 0, 0, 0].tolist() == pytest.approx([0, 0.1, 0, 0], abs=1e-5)  # 0.6 goes down to 0.5
        assert gradient[0, 1, 0, 0].tolist() == pytest.approx([0, -0.1, 0, 0], abs=1e-5)

    def test_the_students_are_of_different_structure_and_both_learn_from_the_mixtures(self) -> None:
        framework, student, teacher = make("sdcl")
        second = framework.own["second"]
        assert second.state_dict().keys() != student.module.state_dict().keys()
        images: list[torch.Tensor] = []
        for module in (student.module, second):
            module.register_forward_pre_hook(lambda layer, inputs: images.append(inputs[0]))
        framework.step(student, teacher, labelled(), unlabelled(), 0.5)
        assert len(images) == 2 and torch.equal(images[0], images[1])

    def test_the_loss_is_that_of_bcp_plus_both_corrections_for_each_student(self) -> None:
        """gamma = 0.5 and mu = 0.05; the corrections weigh annotated voxels 1 and guessed ones alpha = 0.5."""
        framework, student, teacher = make("sdcl")
        result = framework.step(student, teacher, labelled(), unlabelled(), 0.5)
        first = Network(student.module, framework.setting.plan)
        other = Network(framework.own["second"], framework.setting.plan)  # type: ignore[arg-type]
        mixture = mix(teacher, labelled(), unlabelled(), np.random.default_rng(0))  # the same box again
        with torch.no_grad():
            both = first(mixture.image), other(mixture.image)
        differ = discrepancy(*both)
        assert 0.01 < differ.mean() < 0.99
        supervised = consistency = 0.0
        for logits in both:
            supervised += float(segmentation_loss(logits, mixture.target, mixture.annotated))
            guessed = float(segmentation_loss(logits, mixture.target, 1 - mixture.annotated))
            weight = 0.5 + 0.5 * mixture.annotated
            square, divergence = correction_losses(logits, mixture.target, weight, differ)
            consistency += 0.5 * guessed + 0.5 * float(square) + 0.05 * float(divergence)
        assert float(result.supervised) == pytest.approx(supervised, rel=1e-5)
        assert float(result.consistency) == pytest.approx(consistency, rel=1e-5)
