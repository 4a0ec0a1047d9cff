"""The frameworks of a run: made when they are first needed, with the optimizers of their own networks."""

from __future__ import annotations

import torch
from torch import Tensor

from semisam.learning.checkpoints import by_prefix, fill_optimizer, optimizer_tensors
from semisam.learning.frameworks.base import Framework, Setting
from semisam.learning.frameworks.registry import make_framework


class Frameworks:
    """``saved`` is what ``tensors`` gave for the checkpoint that the run goes on from."""

    def __init__(self, setting: Setting, saved: dict[str, Tensor]) -> None:
        self._setting = setting
        self._saved = by_prefix(saved)
        self._made: dict[str, tuple[Framework, torch.optim.Optimizer | None]] = {}

    def get(self, name: str) -> Framework:
        """Raises UsageError for an unknown name."""
        if name not in self._made:
            framework = make_framework(name, self._setting)
            framework.own.to(self._setting.plan.device)
            optimizer = self._optimizer(framework)
            if optimizer is not None and name in self._saved:
                _fill(framework, optimizer, self._saved.pop(name))
            self._made[name] = framework, optimizer
        return self._made[name][0]

    def update(self, learning_rate: float) -> None:
        """Step with the gradients that the last backward pass left, and clear them."""
        for framework, optimizer in self._made.values():
            if optimizer is None:
                continue
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * framework.own_rate
            torch.nn.utils.clip_grad_norm_(framework.own.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Own networks and moments of all frameworks, those included that were saved and not needed since."""
        parts = dict(self._saved)
        for name, (framework, optimizer) in self._made.items():
            if optimizer is not None:
                parts[name] = {f"network.{key}": value for key, value in framework.own.state_dict().items()}
                parts[name] |= {f"optimizer.{key}": value for key, value in optimizer_tensors(optimizer).items()}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}

    def _optimizer(self, framework: Framework) -> torch.optim.Optimizer | None:
        plan = self._setting.plan
        parameters = list(framework.own.parameters())
        if not parameters:
            return None
        return torch.optim.AdamW(
            parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=plan.device != "mps"
        )


def _fill(framework: Framework, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parts = by_prefix(tensors)
    try:
        framework.own.load_state_dict(parts.get("network", {}))
    except RuntimeError:
        return  # made for another plan or by another version: these networks start anew
    fill_optimizer(optimizer, parts.get("optimizer", {}))
