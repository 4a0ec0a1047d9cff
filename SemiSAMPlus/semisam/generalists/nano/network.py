"""The network of `nano`: encode an image once, then decode it for any number of prompts.

Fully convolutional, any grid whose sides are multiples of 8. Space-to-depth turns 2x2x2 voxels into channels, so the
widest layers run at half resolution; a U-shaped encoder gives features at 1/2, 1/4 and 1/8 and unit-length keys at
1/2. The decoder reads the prompts as maps, compares the keys with the mean key under the clicks, inside and around the
prompted region (prototypes), and weighs how much each voxel looks like the region rather than like its surroundings.

Prompt maps, (b, 6, k, j, i): positive clicks narrow and wide, negative clicks narrow and wide (0 to 1), box (+1 inside,
-1 outside, 0 everywhere when there is none), mask (2 p - 1, 0 everywhere when there is none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

POSITIVE, NEGATIVE, BOX, MASK = 0, 2, 4, 5
PROMPT_MAPS = 6
CLICK_WIDTHS = (1.5, 5.0)
"""Standard deviations of the click maps, voxels."""


class Features(NamedTuple):
    """What the encoder made of an image (b, 1, k, j, i)."""

    image: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor
    keys: Tensor


class ConvBlock(nn.Sequential):
    """3x3x3 convolution, group norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.LeakyReLU(0.01, True)
        )


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Conv3d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x + self.norm(self.second(self.first(x))), 0.01)


class NanoNetwork(nn.Module):
    """About 3 million parameters at the default ``widths`` (channels at 1/2, 1/4 and 1/8 of the grid)."""

    def __init__(self, widths: Sequence[int] = (32, 64, 112), heads: int = 8, head_width: int = 8) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.widths = (fine, middle, coarse)
        self.heads = heads
        self.stem = ConvBlock(8, fine)
        self.encode_fine = ConvBlock(fine, fine)
        self.down_middle = ConvBlock(fine, middle, 2)
        self.encode_middle = ResidualBlock(middle)
        self.down_coarse = ConvBlock(middle, coarse, 2)
        self.encode_coarse = nn.Sequential(ResidualBlock(coarse), ResidualBlock(coarse))
        self.up_middle = nn.Conv3d(coarse, middle, 1)
        self.merge_middle = ConvBlock(middle, middle)
        self.up_fine = nn.Conv3d(middle, fine, 1)
        self.merge_fine = ConvBlock(fine, fine)
        self.key = nn.Conv3d(fine, heads * head_width, 1)

        self.read_prompts = nn.Conv3d(8 * (PROMPT_MAPS + 1 + EVIDENCE_MAPS), fine, 1)
        self.mix = nn.Conv3d(2 * fine + 4 * heads, fine, 1)
        self.decode_fine = ConvBlock(fine, fine)
        self.prompt_middle = ConvBlock(fine, middle, 2)
        self.skip_middle = nn.Conv3d(middle, middle, 1)
        self.decode_middle = ConvBlock(middle, middle)
        self.prompt_coarse = ConvBlock(middle, coarse, 2)
        self.skip_coarse = nn.Conv3d(coarse, coarse, 1)
        self.decode_coarse = ResidualBlock(coarse)
        self.lift_middle = nn.Conv3d(coarse, middle, 1)
        self.join_middle = ConvBlock(middle, middle)
        self.lift_fine = nn.Conv3d(middle, fine, 1)
        self.skip_fine = nn.Conv3d(fine, fine, 1)
        self.join_fine = ConvBlock(fine, fine)
        self.answer = nn.Conv3d(fine, 8, 1)
        # A weak start: a mask prompt counts as logits of +-1, everything else has to be earned from the image.
        self.mask_skip = nn.Parameter(torch.ones(1))
        with torch.no_grad():
            self.answer.weight.mul_(0.5)
            if self.answer.bias is not None:
                self.answer.bias.fill_(-1.0)

    def encode(self, image: Tensor) -> Features:
        """Features of an image (b, 1, k, j, i), normalized; sides are multiples of 8."""
        stem = self.stem(space_to_depth(image))
        fine = self.encode_fine(stem) + stem
        middle = self.encode_middle(self.down_middle(fine))
        coarse = self.encode_coarse(self.down_coarse(middle))
        middle = self.merge_middle(middle + double(self.up_middle(coarse)))
        fine = self.merge_fine(fine + double(self.up_fine(middle)))
        keys = self.key(fine)
        split = keys.unflatten(1, (self.heads, -1)).float()
        keys = functional.normalize(split, dim=2, eps=1e-3).flatten(1, 2).to(keys.dtype)
        return Features(image, fine, middle, coarse, keys)

    def decode(self, features: Features, prompts: Tensor) -> Tensor:
        """Logits (b, 1, k, j, i) for prompt maps (b, 6, k, j, i)."""
        with torch.no_grad():
            half_prompts = functional.avg_pool3d(prompts, 2)
            regions = prompted_regions(half_prompts)
            evidence = intensity_evidence(features.image, half_prompts, regions)
        maps = space_to_depth(torch.cat([prompts, features.image, evidence], 1)).to(features.fine.dtype)
        similarity = self._similarities(features.keys, regions)
        prompt_features = functional.leaky_relu(self.read_prompts(maps), 0.01)
        fine = self.decode_fine(self.mix(torch.cat([prompt_features, features.fine, similarity], 1)))
        middle = self.decode_middle(self.prompt_middle(fine) + self.skip_middle(features.middle))
        coarse = self.decode_coarse(self.prompt_coarse(middle) + self.skip_coarse(features.coarse))
        middle = self.join_middle(middle + double(self.lift_middle(coarse)))
        fine = self.join_fine(fine + double(self.lift_fine(middle)) + self.skip_fine(features.fine))
        return depth_to_space(self.answer(fine).float()) + self.mask_skip * prompts[:, MASK : MASK + 1]

    def _similarities(self, keys: Tensor, regions: Tensor) -> Tensor:
        """Cosine of every key with the mean key of each region, (b, 4 * heads, ...): the prompt as prototype."""
        batch, grid = keys.shape[0], keys.shape[2:]
        weight = regions.flatten(2).to(keys.dtype)
        total = weight.float().sum(2)
        flat = keys.flatten(2)
        prototypes = torch.bmm(weight / (total + 1e-4).to(keys.dtype)[:, :, None], flat.transpose(1, 2))
        prototypes = prototypes.unflatten(2, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
        cosines = torch.bmm(prototypes, flat.unflatten(1, (self.heads, -1)).flatten(0, 1))
        cosines = cosines.view(batch, self.heads, regions.shape[1], -1)
        present = (total > 0.2).to(cosines.dtype)[:, None, :, None]
        return (cosines * present).reshape(batch, -1, *grid)


EVIDENCE_MAPS = 5


def prompted_regions(half: Tensor) -> Tensor:
    """(b, 4, ...) weights at half resolution: under positive clicks, under negative clicks, inside and around the
    prompted region. The region is the mask, or else the core of the box."""
    mask, box = half[:, MASK : MASK + 1], half[:, BOX : BOX + 1]
    has_mask, has_box = _present(mask), _present(box) * (1 - _present(mask))
    inside = mask.clamp_min(0).square()
    near = (box_mean(inside, 5) > 0.01).float()
    around = (-mask).clamp_min(0).square() * near
    in_box = (box > 0).float()
    core = (box_mean(in_box, 5) > 0.8).float() * in_box
    shell = (box_mean(in_box, 3) > 0).float() * (1 - in_box)
    inside = has_mask * inside + has_box * core
    around = has_mask * around + has_box * shell
    return torch.cat([half[:, POSITIVE : POSITIVE + 1], half[:, NEGATIVE : NEGATIVE + 1], inside, around], 1)


def intensity_evidence(image: Tensor, half: Tensor, regions: Tensor) -> Tensor:
    """(b, 5, k, j, i) from -1 to 1: what the intensities say about the prompts.

    Difference to the mean under positive clicks, inside, and around; how much better a voxel fits the normal
    distribution inside than the one around; and the same with means taken nearby, which survives a bias field.
    """
    half_image = functional.avg_pool3d(image, 2)
    maps = []
    means, deviations = [], []
    for index in (0, 2, 3):
        weight = regions[:, index : index + 1]
        total = weight.sum((2, 3, 4), keepdim=True)
        mean = (half_image * weight).sum((2, 3, 4), keepdim=True) / (total + 1e-4)
        variance = ((half_image - mean).square() * weight).sum((2, 3, 4), keepdim=True) / (total + 1e-4)
        means.append(mean)
        deviations.append(variance.sqrt() + 0.15)
        maps.append(torch.tanh(image - mean) * (total > 0.2))
    inside, around = ((image - means[index]).div(deviations[index]).square() for index in (1, 2))
    has_region = (regions[:, 2:].sum((2, 3, 4), keepdim=True) > 0.2).all(1, keepdim=True)
    ratio = 0.5 * (around - inside) + (deviations[2] / deviations[1]).log()
    maps.append(torch.tanh(0.5 * ratio) * has_region)
    weights = functional.avg_pool3d(regions[:, 2:], 2)
    quarter = functional.avg_pool3d(half_image, 2)
    nearby = box_mean(weights * quarter, 3) / (box_mean(weights, 3) + 1e-3)
    known = (box_mean(weights, 3) > 0.02).float().prod(1, keepdim=True)
    nearby, known = double(double(nearby)), double(double(known))
    difference = (image - nearby[:, 1:]).abs() - (image - nearby[:, :1]).abs()
    maps.append(torch.tanh(difference) * known * has_region)
    return torch.cat(maps, 1)


def click_maps(points: Tensor, labels: Tensor, shape: Sequence[int]) -> Tensor:
    """(b, 4, k, j, i) click channels from points (b, n, 3) in voxels and labels (b, n): 1, 0, or -1 for no click."""
    maps = torch.zeros((points.shape[0], 4, *shape), device=points.device)
    if points.shape[1] == 0:
        return maps
    for order, width in enumerate(CLICK_WIDTHS):
        bells = []
        for axis, length in enumerate(shape):
            positions = torch.arange(length, device=points.device, dtype=torch.float32)
            offset = positions - points[:, :, axis, None].float()
            bells.append(torch.exp(-offset.square() / (2 * width * width)))
        for channel, label in ((POSITIVE, 1), (NEGATIVE, 0)):
            for item in range(points.shape[0]):
                chosen = torch.nonzero(labels[item] == label).flatten().tolist()
                for n in chosen:
                    k, j, i = (bell[item, n] for bell in bells)
                    bump = k[:, None, None] * j[:, None] * i
                    maps[item, channel + order] = torch.maximum(maps[item, channel + order], bump)
    return maps


def normalize(image: Tensor, view: Tensor) -> Tensor:
    """Clamp to the 0.5 % quantiles, zero mean and unit deviation inside ``view`` (bool), 0 outside.

    The input of ``encode``, (k, j, i) in and out. Made-up and real images both come through here, so training
    and use see the same intensities.
    """
    inside = image[view]
    if inside.numel() == 0:
        return torch.zeros_like(image)
    sample = inside[:: max(1, inside.numel() // 8000)]
    low, high = torch.quantile(sample, torch.tensor([0.005, 0.995]))
    inside = inside.clamp(low, high)
    deviation, mean = torch.std_mean(inside)
    return torch.where(view, (image.clamp(low, high) - mean) / (deviation + 1e-5), torch.zeros(()))


def space_to_depth(x: Tensor) -> Tensor:
    """(b, c, k, j, i) -> (b, 8 c, k/2, j/2, i/2), no value lost."""
    b, c, k, j, i = x.shape
    x = x.reshape(b, c, k // 2, 2, j // 2, 2, i // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, 8 * c, k // 2, j // 2, i // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """Inverse of ``space_to_depth``."""
    b, c, k, j, i = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, k, j, i).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // 8, 2 * k, 2 * j, 2 * i)


def double(x: Tensor) -> Tensor:
    """Twice the grid by repetition. Written as a view: PyTorch's ``interpolate`` is slow in bfloat16 on CPUs."""
    b, c, k, j, i = x.shape
    return x[:, :, :, None, :, None, :, None].expand(b, c, k, 2, j, 2, i, 2).reshape(b, c, 2 * k, 2 * j, 2 * i)


def _present(channel: Tensor) -> Tensor:
    return (channel.abs().amax((1, 2, 3, 4), keepdim=True) > 0).float()


def box_mean(x: Tensor, width: int) -> Tensor:
    """Mean over width^3 voxels (odd ``width``, zeros beyond the border), axis by axis because that is much faster."""
    for axis in range(3):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = width, width // 2
        x = functional.avg_pool3d(x, kernel, 1, padding)
    return x
