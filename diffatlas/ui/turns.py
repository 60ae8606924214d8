"""Turns at what can only be done so many at a time: they go round the visitors, not their requests."""

from __future__ import annotations

import heapq
import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from diffatlas.errors import TooMuch

#: What a visitor of a shared server may have waiting for the model, besides what runs.
MOST_WAITING = 3
#: What all visitors together may have waiting: each holds one of the server's threads.
MOST_IN_ALL = 60
#: Visitors whose last turn is remembered, more than may wait at once.
REMEMBERED = 1000
#: Turns that came to an end, of which the median stands for one whose time is not known.
MEASURED = 20
#: Seconds between two looks at whether one who waits has given up.
LOOK = 0.5


@dataclass(eq=False)
class Ticket:
    """A request for a turn. ``seconds``: what the turn should take, None where that is not known."""

    visitor: str
    number: int
    seconds: float | None = None
    began: float | None = None


@dataclass(frozen=True)
class Place:
    """How many come before a ticket, 0 when it is its turn, and after how many seconds that should be, if known."""

    ahead: int
    seconds: float | None = None

    @property
    def words(self) -> str:
        """The same in words: "2 ahead, about 40 s"."""
        return f"{self.ahead} ahead" + (f", {about(self.seconds)}" if self.seconds is not None else "")


class Turns:
    """Round robin: among the visitors who wait, the one served longest ago is next; of one visitor the first to ask.

    One who was never served comes as if just before the turn that is on: before all who have had one since, yet not
    before those who have waited for longer than that, so that an endless row of new visitors keeps nobody waiting.
    Whoever does several things in a row (the cells of a study, the runs of a batch) gives the turn up after each.

    places: turns at a time. most: what one visitor may have waiting; in_all: what all may; None for any number.
    what: the plural of what waits, as the sentence of a refusal has it. clock: seconds.

    Safe to use from any thread.
    """

    def __init__(
        self,
        places: int = 1,
        most: int | None = None,
        in_all: int | None = None,
        what: str = "runs",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = places
        self.by_visitor = most is not None
        self._most, self._in_all, self._what, self._clock = most, in_all, what, clock
        self._changed = threading.Condition()
        self._at_work: list[Ticket] = []
        self._waiting: dict[str, deque[Ticket]] = {}
        self._served: OrderedDict[str, float] = OrderedDict()
        self._order: list[Ticket] | None = []
        self._joined = self._turn = 0
        self._took: deque[float] = deque(maxlen=MEASURED)

    def who(self, visitor: str, tab: str | None = None) -> str:
        """Return between whom turns go round: visitors where strangers share the server, else the tabs of the owner."""
        return visitor if self.by_visitor or not tab else tab

    def join(self, visitor: str = "", seconds: float | None = None, begun: bool = False) -> Ticket:
        """Ask for a turn.

        begun: whether this goes on with something that has had turns before, which is never refused.

        Raises `TooMuch` where as many wait as may.
        """
        with self._changed:
            if not begun:
                self._check(visitor)
            ticket = Ticket(visitor, self._joined, seconds)
            self._joined += 1
            self._waiting.setdefault(visitor, deque()).append(ticket)
            self._served.setdefault(visitor, self._turn - 0.5)
            self._next()
            return ticket

    def ahead(self, ticket: Ticket) -> int:
        """How many come before this one, what is on included; 0 when it is its turn."""
        return self.place(ticket).ahead

    def place(self, ticket: Ticket) -> Place:
        """Where a ticket stands. Raises ValueError for one that was given up."""
        with self._changed:
            if ticket in self._at_work:
                return Place(0, 0.0)
            order = self._sequence()
            before = order.index(ticket)
            left = [self._left(one) for one in (*self._at_work, *order[:before])]
        known = [seconds for seconds in left if seconds is not None]
        return Place(before + 1, sum(known) / self.places if len(known) == len(left) else None)

    def wait(self, ticket: Ticket, seconds: float) -> bool:
        """Wait until it is this ticket's turn, at most this long; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: ticket in self._at_work, seconds)

    def waiting(self, ticket: Ticket, ended: Callable[[], bool], every: float = LOOK) -> Iterator[Place]:
        """Yield where a ticket stands, again and again, until it is its turn or ``ended()``."""
        while (place := self.place(ticket)).ahead and not ended():
            yield place
            self.wait(ticket, every)

    @property
    def counts(self) -> tuple[int, int]:
        """How many have a turn now, and how many wait for one."""
        with self._changed:
            return len(self._at_work), sum(map(len, self._waiting.values()))

    def others(self, ticket: Ticket) -> bool:
        """Whether somebody else waits."""
        with self._changed:
            return any(visitor != ticket.visitor for visitor in self._waiting)

    def leave(self, ticket: Ticket) -> None:
        """Give a turn up, or the wait for it; more than once does no harm."""
        with self._changed:
            if ticket in self._at_work:
                self._at_work.remove(ticket)
                self._took.append(self._clock() - (ticket.began or 0.0))
            elif ticket in (own := self._waiting.get(ticket.visitor, deque())):
                own.remove(ticket)
                if not own:
                    del self._waiting[ticket.visitor]
            self._next()

    @contextmanager
    def turn(
        self,
        visitor: str,
        seconds: float | None = None,
        ended: Callable[[], bool] = lambda: False,
        tell: Callable[[Place], None] = lambda place: None,
        begun: bool = False,
    ) -> Iterator[Ticket]:
        """Wait for a turn and hold it; ``tell`` is told where one stands. It is also given once ``ended()``."""
        ticket = self.join(visitor, seconds, begun)
        try:
            for place in self.waiting(ticket, ended):
                tell(place)
            yield ticket
        finally:
            self.leave(ticket)

    def _check(self, visitor: str) -> None:
        count = sum(map(len, self._waiting.values()))
        if self._most is not None and len(self._waiting.get(visitor, ())) >= self._most:
            raise TooMuch(f"You have {self._most} {self._what} waiting already; stop one or wait.")
        if self._in_all is not None and count >= self._in_all:
            raise TooMuch(f"{count} {self._what} of all visitors are waiting already; try again in a minute.")

    def _next(self) -> None:
        """Give the places that are free to those who are next, and wake everybody."""
        self._order = None
        while len(self._at_work) < self.places and self._waiting:
            ticket = self._sequence()[0]
            own = self._waiting[ticket.visitor]
            own.popleft()
            if not own:
                del self._waiting[ticket.visitor]
            self._turn += 1
            self._served[ticket.visitor] = self._turn
            self._served.move_to_end(ticket.visitor)
            ticket.began = self._clock()
            self._at_work.append(ticket)
            self._order = None
        for visitor in list(self._served)[: max(0, len(self._served) - REMEMBERED)]:
            if visitor not in self._waiting:
                del self._served[visitor]
        self._changed.notify_all()

    def _sequence(self) -> list[Ticket]:
        if self._order is None:
            self._order = go_round(self._waiting, self._served, self._turn)
        return self._order

    def _left(self, ticket: Ticket) -> float | None:
        seconds = ticket.seconds
        if seconds is None:
            seconds = statistics.median(self._took) if self._took else None
        if seconds is None or ticket.began is None:
            return seconds
        return max(0.0, seconds - (self._clock() - ticket.began))


def go_round(waiting: Mapping[str, Sequence[Ticket]], served: Mapping[str, float], turn: int) -> list[Ticket]:
    """Return in which order those who wait are served.

    served: the number of each visitor's last turn. turn: the number of the last turn of all.
    """
    heap = [(served[visitor], own[0].number, visitor, 0) for visitor, own in waiting.items()]
    heapq.heapify(heap)
    order = []
    while heap:
        _, _, visitor, at = heapq.heappop(heap)
        own = waiting[visitor]
        order.append(own[at])
        turn += 1
        if at + 1 < len(own):
            heapq.heappush(heap, (turn, own[at + 1].number, visitor, at + 1))
    return order


def about(seconds: float) -> str:
    """Return seconds in few words: "about 40 s", "about 3 min"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"
