"""What of a model is trained when: parts of its towers, phases of a run, and the rate of each part."""

from __future__ import annotations

from torch import nn

from hivlp.config import Optimisation, Phase, TrainConfig
from hivlp.model.dual import DualEncoder

EVERYTHING = Phase(until=1, trained="all")


def parts(tower: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a tower from its input on: what lies before the blocks, and one part a block.

    Blocks are the members of the outermost list of modules, such as the layers of a transformer or the stages
    of a residual network; norms and poolers behind them go with the last.
    """
    lists = ((name, part) for name, part in tower.named_modules() if isinstance(part, nn.ModuleList))
    prefix, blocks = next(lists, ("", nn.ModuleList()))
    if not blocks:
        return [[], list(tower.parameters())]
    found: list[list[nn.Parameter]] = [[] for _ in range(len(blocks) + 1)]
    place = 0
    for name, parameter in tower.named_parameters():
        if name.startswith(f"{prefix}."):
            place = 1 + int(name.removeprefix(f"{prefix}.").partition(".")[0])
        elif place:
            place = len(blocks)
        found[place].append(parameter)
    return found


def rate_shares(model: DualEncoder, settings: Optimisation) -> dict[nn.Parameter, float]:
    """The share of the learning rate that each parameter of the towers has; all others have all of it."""
    return {
        parameter: settings.tower_rate * settings.layer_decay**below
        for tower in (model.image_tower, model.text_tower)
        for below, part in enumerate(reversed(parts(tower)))
        for parameter in part
    }


class Schedule:
    """The phases of a run. What is frozen has no gradient, costs no backward pass and no optimiser state."""

    def __init__(self, model: DualEncoder, config: TrainConfig) -> None:
        """Takes what has a gradient now as all there is to train: adapters have one, their bases have not."""
        self._model = model
        self._phases, self._steps = config.freeze or (EVERYTHING,), config.steps
        self._towers = [
            [[parameter for parameter in part if parameter.requires_grad] for part in parts(tower)]
            for tower in (model.image_tower, model.text_tower)
        ]
        self._now: Phase | None = None

    def at(self, step: int) -> None:
        """Freezes and thaws as the phase of a step (0-based) says; to be called before the step is made."""
        phase = next(phase for phase in self._phases if step < phase.until * self._steps)
        if phase is self._now:
            return
        self._now = phase
        for tower in self._towers:
            trained = {"heads": 0, "last_blocks": phase.blocks, "all": len(tower)}[phase.trained]
            for below, part in enumerate(reversed(tower)):
                for parameter in part:
                    parameter.requires_grad_(below < trained)
                    parameter.grad = None
        self._model.train(self._model.training)
