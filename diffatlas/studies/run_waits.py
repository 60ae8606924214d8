"""What cells wait for: told when it changes, and not with every second of a countdown."""

from __future__ import annotations

import time
from collections.abc import Callable

from diffatlas.studies.run_board import CellWaits

#: Seconds by which the end of a wait may move until it is another wait.
SAME = 1.5


class Waits:
    """Tells of the waits of some cells. A cell is told about by one thread at a time."""

    def __init__(self, put: Callable[[CellWaits], None]) -> None:
        self._put = put
        #: By cell: what was told last, and when that wait ends on the clock of this process.
        self._told: dict[str, tuple[str, float | None]] = {}

    def told(self, key: str, message: str, seconds: float | None) -> None:
        """Say that a cell waits, unless that is known: the same words, and an end as it was counted down to."""
        until = None if seconds is None else time.monotonic() + seconds
        if key in self._told:
            words, end = self._told[key]
            same = until is end is None or (until is not None and end is not None and abs(until - end) < SAME)
            if words == message and same:
                return
        self._told[key] = (message, until)
        self._put(CellWaits(key, message, seconds))

    def over(self, key: str) -> None:
        """A cell waits no more; what happens to it then says so."""
        self._told.pop(key, None)
