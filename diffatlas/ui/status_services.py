"""What the line at the head of every page says: what a run would run on, what runs and waits, and what to beware of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from diffatlas.backends.bounds import bounds_here, duration
from diffatlas.backends.fitting import memory_of
from diffatlas.backends.hosted import limits
from diffatlas.errors import DiffAtlasError
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import ELSEWHERE, ModelEntry
from diffatlas.settings import is_shared
from diffatlas.ui import elsewhere, places
from diffatlas.ui.answers import answered
from diffatlas.ui.invitation import Code, Invitation, code, is_for_others
from diffatlas.ui.jobs import Jobs
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.settings import InvitationAsked, Invited, Status, StatusAsked

#: What to beware of where a server is not shared.
ONE_LIBRARY = (
    "All who come here have one library together, because this server is a personal one: start it with --mode shared "
    "to give each their own."
)


class StatusServices:
    """The server's side of the status line. jobs: those of the pages. invited: how others come to this server."""

    def __init__(
        self,
        turns: Turns,
        running: Running,
        keys: KeyServices,
        jobs: Sequence[Jobs],
        invited: Callable[[], Invitation],
    ) -> None:
        self._turns, self._running, self._keys, self._jobs = turns, running, keys, jobs
        self._invited = invited

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """What the browser may call, as the functions of a component."""
        return [answered("status", self.status), answered("invitation", self.invitation)]

    def status(self, visitor: str, asked: StatusAsked) -> Status:
        """Return what the line says for the form in sight. A model that is not known has its id alone."""
        backend, model = asked.backend.strip() or places.LOCAL, asked.model.strip()
        (running, waiting), (sent, held) = self._turns.counts, limits.counts()
        told: Status = {
            "backend": backend,
            "model": model,
            "device": _device() if backend == places.LOCAL else elsewhere.device_of(backend),
            "running": running + sent + elsewhere.running(),
            "waiting": waiting + held,
            "studies": self._running.count(visitor),
            "jobs": sum(jobs.under_way(visitor) for jobs in self._jobs),
            "warnings": [],
        }
        try:
            told["backend"] = places.name_of(backend)
            if model:
                told["model"] = places.called(backend, model)
                if backend == places.LOCAL:
                    told["warnings"] = local_warnings(places.entry_of(backend, model))
            if self._keys.lacks_key(visitor, backend):
                told["warnings"] = [f"There is no key for {told['backend']} yet: Settings takes one."]
        except DiffAtlasError as error:
            # Of a model its field says what is wrong; a place that is not offered has no field that shows it.
            if backend in ELSEWHERE:
                told["warnings"] = [error.message]
        return told

    def invitation(self, visitor: str, asked: InvitationAsked) -> Invited:
        """Return the address to give to others with its code; the one that has led here, where that is known to do."""
        found = self._invited()
        if not found.given and is_for_others(asked.page):
            found = Invitation(asked.page, "You came here by this address yourself.")
        drawn = code(found.address) if found.address else Code(0, "")
        return {
            "address": found.address,
            "words": found.words,
            "warning": "" if is_shared() else ONE_LIBRARY,
            "size": drawn.size,
            "path": drawn.path,
        }


def local_warnings(entry: ModelEntry) -> list[str]:
    """Return what to beware of before a model of this machine runs: that it will not fit, or that it takes long."""
    backend = shared_local_backend()
    if not _torch_is_here():
        return []
    found = []
    if not backend.is_loaded(entry.id):
        device = backend.device
        needed, memory = places.needed_by(entry, backend, device), memory_of(device, backend.resident)
        if needed is not None and needed > memory.free:
            found.append(
                f"{entry.name} needs about {needed / 1e9:.1f} GB, and {memory.free / 1e9:.1f} GB are free: it will "
                "not fit."
            )
    seconds = _seconds(entry, backend)
    if seconds is not None and seconds > bounds_here().seconds:
        where = "this CPU" if backend.device.startswith("cpu") else "this machine"
        found.append(f"An image of {entry.name} takes about {duration(seconds)} on {where}.")
    return found


def _seconds(entry: ModelEntry, backend: Any) -> float | None:
    """What an image of a model's own size takes, where that has been measured."""
    asked = {"num_inference_steps": entry.steps or 30, "guidance_scale": entry.guidance}
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        estimate = backend.estimate(GenerationParams(model=entry.id, prompt="a picture", **given))
    except DiffAtlasError:
        return None
    return None if estimate is None else estimate.work


def _device() -> str:
    """The device and dtype of what is loaded, else the device on which it would be; "" while that is not known."""
    backend = shared_local_backend()
    if (resident := backend.resident) is not None:
        return f"{resident.device} {resident.dtype}"
    try:
        return backend.device if _torch_is_here() else ""
    except DiffAtlasError:
        return ""


def _torch_is_here() -> bool:
    """Whether torch has been imported: it takes seconds, which the line does not wait for."""
    return "torch" in sys.modules
