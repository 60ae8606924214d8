"""What clients of a server may take of it."""

from __future__ import annotations

from dataclasses import dataclass

#: Letters that a token has at least where the network can reach the server.
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Limits:
    """Bounds of one server. Times in seconds."""

    #: Without a word from its client, after which a run is ended.
    gone: float = 30.0
    #: In which no event is collected although there is no room for more, after which a run is ended.
    stalled: float = 60.0
    #: That the events of a run are kept after its end.
    kept: float = 300.0
    #: From one sign of life on a connection to the next, where no event comes.
    alive: float = 5.0
    #: For the body of a request, from one part of it to the next.
    body: float = 30.0
    #: Bytes of the events of one run that are kept: a client can go on from those, and what it has not collected is
    #: never dropped.
    run_bytes: int = 64_000_000
    #: Bytes of the events of all runs, of which those that ended first go first.
    all_bytes: int = 512_000_000
    #: Runs of one client that are under way or wait, and those of all.
    of_client: int = 8
    in_all: int = 60
    #: Requests of which bodies are read at a time.
    bodies: int = 4
