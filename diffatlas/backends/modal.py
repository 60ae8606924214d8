"""The backend that runs on Modal: the app of ``modal_deploy.py``, whose containers have GPUs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.backends import batching, wire
from diffatlas.backends.base import Capabilities
from diffatlas.backends.estimate import Estimate
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.on_modal import described, failures, prices
from diffatlas.backends.on_modal.follow import Following, Terms
from diffatlas.backends.producer import Put, Stopping, stream
from diffatlas.capture.spec import Capture
from diffatlas.errors import error_for
from diffatlas.events import Event, Finished
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.settings import Settings, settings

#: The classes and the queue of the app, by name.
GPU_CLASS, FACTS_CLASS, QUEUE = "Gpu", "Facts", "diffatlas-answers"
#: Requests of which is kept what the app says of them.
_KEPT = 1000


@dataclass(frozen=True)
class Spent:
    """What the runs of a backend have taken so far: their number, and seconds of containers, starts left out."""

    runs: int = 0
    seconds: float = 0.0


class ModalBackend:
    """Runs on the containers of an app on Modal, which ``modal deploy modal_deploy.py`` has put there.

    Modal's own token is used (``modal token new``, or MODAL_TOKEN_ID and MODAL_TOKEN_SECRET).

    Args:
        app: what the app is called. environment: where in the account it is.
        containers: how many runs may be under way at once; the app's own limit may be lower.
        gpu: another kind of GPU than the app's own, such as "H100".
        Each is taken from `diffatlas.settings` where it is None.
        classes: the classes `GPU_CLASS` and `FACTS_CLASS` of an app that runs already, in place of a deployed one.

    Raises `CapabilityError` where the package `modal` is not installed.
    """

    name = "modal"

    def __init__(
        self,
        app: str | None = None,
        environment: str | None = None,
        containers: int | None = None,
        gpu: str | None = None,
        classes: tuple[Any, Any] | None = None,
    ) -> None:
        try:
            import modal
        except ModuleNotFoundError as error:
            raise failures.not_installed() from error
        chosen = settings()
        self._app = chosen.modal_app if app is None else app
        where = (chosen.modal_environment if environment is None else environment) or None
        self._terms = Terms(self._app, gpu or chosen.modal_gpu, chosen.modal_wait)
        if classes is None:
            classes = (
                modal.Cls.from_name(self._app, GPU_CLASS, environment_name=where),
                modal.Cls.from_name(self._app, FACTS_CLASS, environment_name=where),
            )
        with_gpu, without = classes
        if gpu:
            with_gpu = with_gpu.with_options(gpu=gpu)
        self._gpu, self._facts = with_gpu(), without()
        self._queue = modal.Queue.from_name(QUEUE, environment_name=where, create_if_missing=True)
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._about: dict[str, Any] | None = None
        self._chosen_gpu = gpu
        #: Model -> seconds of a container that its last whole run took for each of its steps.
        self._paces: dict[str, float] = {}
        #: What its runs have taken so far.
        self.spent = Spent()
        count = chosen.modal_containers if containers is None else containers
        self.capabilities: Capabilities = replace(LocalBackend.capabilities, concurrent=count)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """Run ``params``; see `diffatlas.backends.base.Backend.trace`. `Waiting` tells of containers that start."""
        asked = wire.asked_of(params, capture)

        def work(put: Put, stopping: Stopping) -> None:
            self._follow(asked, lambda _, event: put(event), stopping)

        return stream(work, stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """Run several cells in one pipeline call; see `diffatlas.backends.base.BatchBackend.trace_batch`."""
        cells = tuple(cells)
        batching.check_cells(cells)
        if len(cells) > wire.MOST_CELLS:
            return wire.cannot_share(cells)
        asked = wire.asked_of(cells, capture)

        def work(put: Put, stopping: Stopping) -> None:
            self._follow(asked, lambda position, event: put((position, event)), stopping)

        return stream(work, stop)

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Return ``params`` with what the model decides filled in, as `LocalBackend.resolve` does there.

        It asks a container without a GPU, once for each request. Raises as that, and the typed errors of
        `diffatlas.backends.on_modal.failures`.
        """
        return wire.asked_from_bytes(self._told(params)["asked"]).cells[0]

    def identity(self, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
        """Return what decides the result of ``params`` besides them, as `LocalBackend.identity` there.

        Raises as `resolve`.
        """
        return self._told(params)["batched" if batched else "identity"]

    def models(self) -> list[ModelEntry]:
        """Return the models that the app offers, the first one first. Raises typed errors, as `resolve`."""
        return [described.entry_of(told) for told in self._ask(self._facts.models.remote)]

    def about(self) -> dict[str, Any]:
        """Return what the app is: "gpu", "cores", "memory" (MiB), "idle" and "timeout" (s), "containers", "version".

        Raises typed errors, as `resolve`.
        """
        if self._about is None:
            self._about = self._ask(self._facts.about.remote)
            gpu = self._chosen_gpu or self._about["gpu"]
            self._terms = replace(self._terms, gpu=gpu, timeout=self._about["timeout"])
        return self._about

    def runs_on(self) -> str:
        """Return what runs run on, in a few words: "A10", "H100:2", "CPU". Raises typed errors, as `resolve`."""
        return self._chosen_gpu or self.about()["gpu"] or "CPU"

    def estimate(self, params: GenerationParams, capture: Capture | None = None) -> Estimate | None:
        """Return what a request should take on a container with a GPU, which is started for it, and paid for.

        None where nothing is known before it runs. Raises typed errors, as `resolve`.
        """
        asked = wire.asked_to_bytes(wire.asked_of(params, capture))
        told = self._ask(lambda: self._gpu.estimate.remote(asked))
        if told is None:
            return None
        return Estimate(**{**_checked(told), "size": tuple(told["size"]), "own": tuple(told["own"])})

    def rate(self) -> prices.Rate:
        """Return what a second of a container costs. Raises typed errors, as `resolve`."""
        about = self.about()
        return prices.rate_of(self._chosen_gpu or about["gpu"], about["cores"], about["memory"])

    def cost(self, seconds: float | None, containers: int = 1) -> prices.Cost:
        """Return what runs of so many seconds cost, with the start of the containers and their idle time.

        seconds: of all runs, one after another; None where that is not known. Raises typed errors, as `resolve`.
        """
        most = min(containers, self.capabilities.concurrent)
        return prices.Cost(self.rate(), seconds, most, self.about()["idle"])

    def cost_of(self, cells: Sequence[GenerationParams]) -> prices.Cost:
        """Return what runs of ``cells`` should cost, without starting a container with a GPU.

        The time of a run is that of its model's last one of this backend, by the number of steps; it is not known
        before there was one. Raises typed errors, as `resolve`.
        """
        with self._lock:
            paces = [self._paces.get(cell.model) for cell in cells]
        known = [pace * cell.num_inference_steps for pace, cell in zip(paces, cells, strict=True) if pace]
        seconds = sum(known) if len(known) == len(cells) else None
        return replace(self.cost(seconds, max(1, len(cells))), runs=len(cells))

    def _follow(self, asked: wire.Asked, put: Callable[[int, Event], None], stopping: Stopping) -> None:
        whole = 0

        def counted(position: int, event: Event) -> None:
            nonlocal whole
            whole += isinstance(event, Finished) and event.status == "complete"
            put(position, event)

        following = Following(asked, self._gpu.run.spawn, self._queue, counted, stopping, self._terms)
        following.run()
        if following.result:
            with self._lock:
                seconds = self.spent.seconds + float(following.result["seconds"])
                self.spent = Spent(self.spent.runs + len(asked.cells), seconds)
                if whole == len(asked.cells):
                    steps = sum(cell.num_inference_steps for cell in asked.cells)
                    self._paces[asked.cells[0].model] = float(following.result["seconds"]) / steps

    def _told(self, params: GenerationParams) -> dict[str, Any]:
        key = params.key()
        with self._lock:
            told = self._known.get(key)
        if told is None:
            asked = wire.asked_to_bytes(wire.asked_of(params, None))
            told = _checked(self._ask(lambda: self._facts.facts.remote(asked)))
            resolved = wire.asked_from_bytes(told["asked"]).cells[0].key()
            with self._lock:
                if told["identity"] is not None:
                    # Of a model that is not there yet more is known once it is.
                    self._known |= {key: told, resolved: told}
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return told

    def _ask(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            raise failures.typed(error, self._app, self._terms.timeout) from error


class LocalOnModal(LocalBackend):
    """The models of this process, run on the containers of an app on Modal: what the page there runs on.

    What can be known without running is answered here, from the files that both share.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = ModalBackend()
        self._foretold = described.Foretold(device_of(settings()))
        self.capabilities = self.elsewhere.capabilities
        #: Its runs need not wait for each other.
        self.one_at_a_time = False

    def identity(self, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
        """As `LocalBackend.identity`, on the kind of device that the containers have."""
        return self._foretold.identity(params, batched)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """As `ModalBackend.trace`."""
        return self.elsewhere.trace(params, capture, stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """As `ModalBackend.trace_batch`."""
        return self.elsewhere.trace_batch(cells, capture, stop)

    def measure(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Estimate | None:
        """Return nothing: a container would have to be started, and paid for, to know it."""
        return None

    def estimate(self, params: GenerationParams, capture: Capture | None = None) -> Estimate | None:
        """Return nothing, as `measure`."""
        return None

    def is_loaded(self, model: str) -> bool:
        """Return True: a container that loads a model says so as it waits."""
        return True


def device_of(chosen: Settings) -> str:
    """Return the kind of device of containers with these settings: "cuda" or "cpu"."""
    return "cuda" if chosen.modal_gpu else "cpu"


def _checked(told: dict[str, Any]) -> dict[str, Any]:
    """Return what the app told, or raise the error that it told."""
    if "error" in told:
        error = error_for(told["error"]["code"], told["error"]["message"])
        error.field = told["error"]["field"]
        raise error
    return told
