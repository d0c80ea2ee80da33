"""A course of training over goods texts: epochs of batches at rising, then falling rates.

After each epoch its state is kept in a file, so that a course that was cut short goes on there.
Each epoch draws its chances from a seed of its own: one that went on ends like one never stopped.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.progress import Say

WARM_UP: Final = 0.1
"""Share of the steps in which the rates rise."""
SHORTEST: Final = 20
"""Steps for which the rates are planned at least: they need two to rise."""
OFTEN: Final = 10
"""Steps between two reports of progress."""


def usable_device() -> torch.device:
    """Return a GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, slots=True)
class Course:
    """How to train."""

    name: str
    """As the progress names it."""
    epochs: int
    batch: int
    """Texts; all of them where there are fewer."""
    decay: float
    """Of the weights."""
    seed: int
    kept: Path
    """File for the state after an epoch; removed at the end."""
    made_from: str
    """Hash of what is learned from: the state of another training is not gone on with."""

    def run(
        self,
        count: int,
        groups: Sequence[dict[str, Any]],
        epoch: Callable[[np.random.Generator], Callable[[Tensor], Tensor]],
        clipped: Iterable[nn.Parameter] = (),
        *,
        say: Say,
    ) -> None:
        """Train parameters.

        Args:
            count: of texts.
            groups: of parameters, each with its highest rate: "params" and "lr".
            epoch: begins an epoch, with a source of chance: returns the function that returns the
                loss of a batch, of which it takes the numbers of the texts (B,).
            clipped: parameters whose gradient, all together, has a norm of at most 1.
            say: called with the progress and the time that is left.
        """
        batch, clipped = min(self.batch, count), list(clipped)
        of_epoch = count // batch
        steps = self.epochs * of_epoch
        optimizer = torch.optim.AdamW(groups, weight_decay=self.decay, fused=True)
        rates = [group["lr"] for group in groups]
        planned = max(steps, SHORTEST)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, planned, pct_start=WARM_UP)
        finished = self._restore(optimizer, schedule)
        started, so_far = time.monotonic(), ""
        for number in range(finished, self.epochs):
            step = f"{self.name}: epoch {number + 1} of {self.epochs}{so_far}"
            say(step, number * of_epoch, steps)
            torch.manual_seed(self.seed + number)
            loss_of = epoch(np.random.default_rng([self.seed, number]))
            total = torch.zeros(())
            order = torch.randperm(count)[: of_epoch * batch]
            for place, chosen in enumerate(torch.split(order, batch)):
                loss = loss_of(chosen)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if clipped:
                    nn.utils.clip_grad_norm_(clipped, 1.0)
                optimizer.step()
                schedule.step()
                total = total.to(loss.device) + loss.detach()
                if (place + 1) % OFTEN == 0:
                    say(step, number * of_epoch + place + 1, steps)
            self._keep(optimizer, schedule, number + 1)
            seconds = (time.monotonic() - started) / (number + 1 - finished)
            minutes = seconds * (self.epochs - number - 1) / 60
            so_far = f", loss {float(total) / of_epoch:.2f}, {minutes:.0f} minutes left"
        self.kept.unlink(missing_ok=True)

    def _keep(self, optimizer: torch.optim.Optimizer, schedule: Any, finished: int) -> None:
        """Write the state after so many epochs: the parameters, and those of the optimizer."""
        state = optimizer.state_dict()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        tensors = {f"{place}": p.detach().cpu() for place, p in enumerate(parameters)}
        for place, of_parameter in state["state"].items():
            tensors |= {f"{place}.{name}": value.cpu() for name, value in of_parameter.items()}
        rates = {"groups": state["param_groups"], "schedule": schedule.state_dict()}
        new = self.kept.with_suffix(".new")
        text = {"made_from": self.made_from, "finished": str(finished), "rates": json.dumps(rates)}
        save_file({name: t.contiguous() for name, t in tensors.items()}, new, metadata=text)
        new.replace(self.kept)

    def _restore(self, optimizer: torch.optim.Optimizer, schedule: Any) -> int:
        """Take up a kept state; return how many epochs are finished."""
        if not self.kept.exists():
            return 0
        with safe_open(self.kept, "pt") as file:
            text = file.metadata()
        if text["made_from"] != self.made_from:
            return 0
        tensors, rates = load_file(self.kept), json.loads(text["rates"])
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            place, _, of_optimizer = name.partition(".")
            if of_optimizer:
                state.setdefault(int(place), {})[of_optimizer] = value
            else:
                parameters[int(place)].data.copy_(value)
        optimizer.load_state_dict({"state": state, "param_groups": rates["groups"]})
        schedule.load_state_dict(rates["schedule"])
        return int(text["finished"])
