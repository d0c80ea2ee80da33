"""A course of training over goods texts: epochs of batches at rising, then falling rates."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.progress import Say

WARM_UP: Final = 0.1
"""Share of the steps in which the rates rise."""
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

    def run(
        self,
        count: int,
        groups: Sequence[dict[str, Any]],
        epoch: Callable[[], Callable[[Tensor], Tensor]],
        clipped: Iterable[nn.Parameter] = (),
        *,
        say: Say,
    ) -> None:
        """Train parameters.

        Args:
            count: of texts.
            groups: of parameters, each with its highest rate: "params" and "lr".
            epoch: begins an epoch: returns the function that returns the loss of a batch, of which
                it takes the numbers of the texts (B,).
            clipped: parameters whose gradient, all together, has a norm of at most 1.
            say: called with the progress and the time that is left.
        """
        batch, clipped = min(self.batch, count), list(clipped)
        of_epoch = count // batch
        steps = self.epochs * of_epoch
        optimizer = torch.optim.AdamW(groups, weight_decay=self.decay, fused=True)
        rates = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps, pct_start=WARM_UP)
        started, so_far = time.monotonic(), ""
        for number in range(self.epochs):
            step = f"{self.name}: epoch {number + 1} of {self.epochs}{so_far}"
            say(step, number * of_epoch, steps)
            loss_of = epoch()
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
            seconds = (time.monotonic() - started) / (number + 1) * (self.epochs - number - 1)
            so_far = f", loss {float(total) / of_epoch:.2f}, {seconds / 60:.0f} minutes left"
