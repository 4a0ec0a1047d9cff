"""What every network of a specialist offers to the frameworks beside its prediction."""

from __future__ import annotations

from torch import nn


class SpecialistNetwork(nn.Module):
    """(batch, 1, k, j, i) normalized image -> (batch, 1 + segments, k, j, i) logits, background first.

    Frameworks hang heads of their own beside ``output_layer`` and dropout behind ``deepest_layer``, from outside: the
    network and its weights stay the same whatever framework trains it.
    """

    @property
    def output_layer(self) -> nn.Module:
        """What makes the logits from the last features."""
        raise NotImplementedError

    @property
    def deepest_layer(self) -> nn.Module:
        """What works at the coarsest resolution."""
        raise NotImplementedError
