"""Another Atlas as a backend: the models of another machine, with every step of their runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

from pydantic import SecretStr

from diffatlas.backends import batching, wire
from diffatlas.backends.base import Capabilities
from diffatlas.backends.estimate import Estimate
from diffatlas.backends.guidable import GuidanceKind
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.producer import Put, stream
from diffatlas.backends.remote.asking import Asking, Patience
from diffatlas.backends.remote.following import Following
from diffatlas.backends.remote.place import place_of
from diffatlas.backends.remote.protocol import from_plain
from diffatlas.backends.tasks import TakesPicture
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.events import Event
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry

log = logging.getLogger("diffatlas")

#: Seconds that what was said of a model is taken to hold.
REMEMBERED = 30.0


class RemoteBackend:
    """Runs models of another Atlas: an app that is open there, or `diffatlas serve` (docs/remote.md).

    Args:
        url: where it is, such as ``http://localhost:8421``; DIFFATLAS_REMOTE_URL where None.
        token: what it asks for; DIFFATLAS_REMOTE_TOKEN where None. It is held in memory alone.
        patience: how long it is waited for.
        packing: whether events are made smaller before they are sent, which takes time at both ends. Where None, unless
            the address is on this machine; True is right for one at the other end of a tunnel.

    It is asked what it can do when it is opened. Raises `InvalidParams` for an address or a token that cannot be one,
    `KeyRefused` where it asks for a token or does not take this one, `CapabilityError` where it speaks another version,
    `NetworkError` or another `HostedError` where no Atlas answers.
    """

    name = "remote"

    def __init__(
        self,
        url: str | None = None,
        token: str | SecretStr | None = None,
        patience: Patience | None = None,
        packing: bool | None = None,
    ) -> None:
        self.place = place_of(url, token)
        self._asking = Asking(self.place, patience or Patience())
        self._packing = not self.place.here if packing is None else packing
        self._described: dict[str, tuple[float, dict[str, Any]]] = {}
        told = self._asking.ask_plain("GET", "info")
        if not isinstance(told, dict):
            raise self._asking.unreadable()
        if told.get("wire") != wire.VERSION:
            raise CapabilityError(
                f"The events of {self.place.called} have another form than those of this version: install the same "
                "version of diffatlas at both ends."
            )
        self.capabilities: Capabilities = self._read(Capabilities, told.get("capabilities"))
        #: What runs there: "version", "device", "dtype", "shared".
        self.about = {name: told.get(name) for name in ("version", "device", "dtype", "shared")}
        if self.place.warning:
            log.warning("%s", self.place.warning)

    @property
    def warning(self) -> str:
        """What to beware of, as a sentence; "" where there is nothing."""
        return self.place.warning

    @property
    def device(self) -> str:
        """The device there."""
        return str(self.about["device"])

    @property
    def dtype(self) -> str:
        """What models are loaded in there, as it was asked."""
        return str(self.about["dtype"])

    def models(self) -> list[ModelEntry]:
        """Return what it offers, its first one first. Raises as the constructor."""
        told = self._asking.ask_plain("GET", "models")
        if not isinstance(told, dict) or not isinstance(told.get("models"), list):
            raise self._asking.unreadable()
        return [self._read(ModelEntry, one) for one in told["models"]]

    def info(self, model: str) -> ModelInfo | None:
        """See `LocalBackend.info`. Raises as that, and as the constructor."""
        told = self._of_model(model)["info"]
        return None if told is None else self._read(ModelInfo, told)

    def guidance_methods(self, model: str) -> tuple[str, ...]:
        """See `LocalBackend.guidance_methods`."""
        return tuple(map(str, self._of_model(model)["guidance_methods"]))

    def guidance_kind(self, model: str) -> GuidanceKind | None:
        """See `LocalBackend.guidance_kind`."""
        return self._of_model(model)["guidance_kind"]

    def takes_picture(self, model: str) -> TakesPicture | None:
        """See `LocalBackend.takes_picture`."""
        told = self._of_model(model)["takes_picture"]
        return None if told is None else self._read(TakesPicture, told)

    def is_loaded(self, model: str) -> bool:
        """Whether the model was resident there when it was last asked of; False where that cannot be told."""
        try:
            return self._of_model(model)["loaded"] is True
        except DiffAtlasError:
            return False

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """See `LocalBackend.resolve`. Raises as that, and as the constructor."""
        blob = self._asking.ask("POST", "resolve", wire.asked_to_bytes(wire.asked_of(params, None)))
        try:
            return wire.asked_from_bytes(blob).cells[0]
        except ValueError:
            raise self._asking.unreadable() from None

    def identity(self, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
        """See `LocalBackend.identity`: what decides the result is the same there as here. Raises as `resolve`."""
        path = f"identity?batched={'yes' if batched else 'no'}"
        return self._answered(path, params, None, "identity")

    def estimate(self, params: GenerationParams, capture: Capture | None = None) -> Estimate | None:
        """Return what a request should take there, None where nothing was measured yet. Raises as `resolve`."""
        told = self._answered("estimate", params, capture, "estimate")
        return None if told is None else self._read(Estimate, told)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """Run ``params`` there; see `diffatlas.backends.base.Backend.trace`.

        The events are those of a run there, bit for bit. A connection that breaks is made again, and the run goes on
        where it was; `Waiting` events tell of that, and of the turns of others.
        """
        asked = wire.asked_of(params, capture)

        def work(put: Put, stopping: Any) -> None:
            self._following(asked, lambda item: put(item[1])).run(stopping)

        return stream(work, stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """Run several cells in one pipeline call there; see `diffatlas.backends.base.BatchBackend.trace_batch`."""
        cells = tuple(cells)
        batching.check_cells(cells)
        if not self.capabilities.batch or len(cells) > wire.MOST_CELLS:
            return wire.cannot_share(cells)
        asked = wire.asked_of(cells, capture)
        return stream(lambda put, stopping: self._following(asked, put).run(stopping), stop)

    def close(self) -> None:
        """Close the connections. Runs have their own."""
        self._asking.close()

    def _following(self, asked: wire.Asked, put: Any) -> Following:
        return Following(self._asking, asked, self._packing, put)

    def _of_model(self, model: str) -> dict[str, Any]:
        """Return what is said of a model, not longer ago than `REMEMBERED`."""
        at, told = self._described.get(model, (float("-inf"), {}))
        if time.monotonic() - at > REMEMBERED:
            told = self._asking.ask_plain("POST", "model", plain={"model": model})
            names = {"info", "guidance_methods", "guidance_kind", "takes_picture", "loaded"}
            if not isinstance(told, dict) or names - set(told):
                raise self._asking.unreadable()
            self._described[model] = time.monotonic(), told
        return told

    def _answered(self, path: str, params: GenerationParams, capture: Capture | None, name: str) -> Any:
        told = self._asking.ask_plain("POST", path, wire.asked_to_bytes(wire.asked_of(params, capture)))
        if not isinstance(told, dict) or name not in told:
            raise self._asking.unreadable()
        return told[name]

    def _read(self, cls: type, plain: Any) -> Any:
        try:
            return from_plain(cls, plain)
        except ValueError:
            raise self._asking.unreadable() from None
