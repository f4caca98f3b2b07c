"""Progress bars on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Callback with the number of finished items and the total."""


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """Yield a callback that draws a progress bar with the time left.

    Nothing is drawn if standard error is not a terminal, so that logs stay readable.

    Args:
        description: Text to the left of the bar.

    """
    # Rich takes 0.1 s to import, which commands without a bar do not need.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
