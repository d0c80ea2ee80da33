"""Progress of long work on standard error: a bar in a terminal, elsewhere a line for each step."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """A `models.progress.Say` for a terminal; a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *columns,
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._step: str | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()
        self._progress.stop()

    def __call__(self, step: str, done: int = 0, total: int = 0, /) -> None:
        """Show the step; a new one takes the next line."""
        if step != self._step:
            self._finish()
            self._step = step
            self._task = self._progress.add_task(step, total=total or None)
            if not self._console.is_terminal:
                self._console.print(f"{step} …", markup=False, highlight=False)
        self._progress.update(self._task, completed=done, total=total or None)

    def _finish(self) -> None:
        """Fill the bar of the step before."""
        if self._step is not None:
            total = self._progress.tasks[self._task].total or 1
            self._progress.update(self._task, completed=total, total=total)
