"""A progress bar on standard error, where somebody looks (extra `progress`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_of"]


@contextmanager
def progress_of(rows: int, is_wanted: bool) -> Iterator[Callable[[int], None]]:
    """Shows how many of *rows* are done, on a terminal or in a notebook; elsewhere, and without `rich`, nothing.

    Args:
        rows: all there are.
        is_wanted: whether to show anything.

    Yields:
        What is called with the number of rows that are done besides.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    except ImportError:
        yield lambda _rows: None
        return
    console = Console(stderr=True)
    is_seen = console.is_terminal or console.is_jupyter
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (is_wanted and is_seen)) as progress:
        task = progress.add_task("scoring", total=rows)
        yield lambda done: progress.advance(task, done)
