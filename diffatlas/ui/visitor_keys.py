"""The keys that visitors have typed for hosted models, and their tokens for another Atlas.

They are in this process's memory, for as long as a visit lasts.

A visit ends some time after the last tab of a visitor was closed (a reload closes and opens one). Nothing here is ever
written, sent to a browser or logged: what holds a key shows stars instead of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from diffatlas.backends import open_backend
from diffatlas.backends.hosted import provider_of
from diffatlas.backends.hosted.keys import MOST_LETTERS, key_of
from diffatlas.errors import InvalidParams, KeyRefused
from diffatlas.registry import ELSEWHERE
from diffatlas.settings import is_shared, settings
from diffatlas.ui import elsewhere

#: Seconds after which the keys of a visitor without a tab are dropped.
AWAY = 120.0
#: Seconds between two looks, as long as somebody has a key.
LOOK = 15.0
#: Visitors whose keys are kept, those who came last.
MOST_VISITORS = 2000
#: Tabs that are remembered: of one that never said that it was closed, the visitor is taken to be gone some day.
MOST_TABS = 10_000


class VisitorKeys:
    """Keys by visitor and provider, and which tabs their visitors have open. Safe to use from any thread.

    away: seconds after which those of a visitor without a tab go. clock: seconds.
    """

    def __init__(self, away: float = AWAY, clock: Callable[[], float] = time.monotonic) -> None:
        self._away, self._clock = away, clock
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, dict[str, SecretStr]] = OrderedDict()
        self._visitors: dict[str, str] = {}  # tab -> visitor
        self._left: dict[str, float] = {}  # visitor without a tab -> since when
        self._looking = False

    def put(self, visitor: str, provider: str, key: Any) -> None:
        """Keep a key, in place of one that the visitor had.

        Raises `InvalidParams` for nothing and for an unknown provider, `KeyRefused` for what no key can be.
        """
        if not (isinstance(key, str) and key.strip()):
            raise InvalidParams("There is no key in the box: paste it from the provider’s page.", field="key")
        self._keep(visitor, provider, key_of(provider_of(provider), key))

    def put_token(self, visitor: str, url: str, token: Any) -> None:
        """Keep a token for another Atlas, which goes to this address alone, in place of one that the visitor had.

        Raises `InvalidParams` for nothing, and `KeyRefused` for what no token can be.
        """
        text = token.strip() if isinstance(token, str) else ""
        if not text:
            raise InvalidParams("There is no token in the box: paste it.", field="token")
        if not (text.isascii() and text.isprintable() and " " not in text) or len(text) > MOST_LETTERS:
            raise KeyRefused(
                "This is no token: it holds a space, a line break or a letter that none has. Copy it again.",
                field="token",
            )
        self._keep(visitor, token_name(url), SecretStr(text))

    def _keep(self, visitor: str, name: str, held: SecretStr) -> None:
        with self._lock:
            self._keys.setdefault(visitor, {})[name] = held
            self._keys.move_to_end(visitor)
            while len(self._keys) > MOST_VISITORS:
                self._left.pop(self._keys.popitem(last=False)[0], None)
            if visitor not in self._visitors.values():
                self._left.setdefault(visitor, self._clock())
        self._look_later()

    def of(self, visitor: str, provider: str) -> SecretStr | None:
        """Return a visitor's key of a provider; None where there is none."""
        self.drop()
        with self._lock:
            return self._keys.get(visitor, {}).get(provider)

    def forget(self, visitor: str, provider: str | None = None) -> None:
        """Drop a visitor's key of a provider, or all of them."""
        with self._lock:
            own = self._keys.get(visitor, {})
            own.pop(provider, None) if provider else own.clear()
            if not own:
                self._keys.pop(visitor, None)
                self._left.pop(visitor, None)

    def enter(self, visitor: str, tab: str) -> None:
        """A visitor has opened a tab."""
        with self._lock:
            self._visitors[tab] = visitor
            self._left.pop(visitor, None)
            oldest = next(iter(self._visitors)) if len(self._visitors) > MOST_TABS else None
        if oldest is not None:
            self.leave(oldest)

    def leave(self, tab: str) -> None:
        """A tab was closed. With a visitor's last the time begins to run after which their keys go."""
        with self._lock:
            visitor = self._visitors.pop(tab, None)
            if visitor in self._keys and visitor not in self._visitors.values():
                self._left[visitor] = self._clock()

    def drop(self) -> None:
        """Drop the keys of those who have been away too long."""
        with self._lock:
            now = self._clock()
            for visitor in [one for one, since in self._left.items() if now - since >= self._away]:
                del self._left[visitor]
                self._keys.pop(visitor, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._keys)

    def __repr__(self) -> str:
        return f"VisitorKeys({len(self)} visitors)"

    def _look_later(self) -> None:
        with self._lock:
            if self._looking:
                return
            self._looking = True
        threading.Thread(target=self._look, name="diffatlas-keys", daemon=True).start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK)
            self.drop()
            with self._lock:
                if not self._keys:
                    self._looking = False
                    return


#: Those of this process.
KEYS = VisitorKeys()


def token_name(url: str) -> str:
    """Return by which name `VisitorKeys` has the token for another Atlas at an address."""
    return f"remote {url}"


def token_for(visitor: str, keys: VisitorKeys = KEYS) -> SecretStr | None:
    """Return the token that a visitor has typed for another Atlas at the address that it has now, or None."""
    return keys.of(visitor, token_name(elsewhere.address()))


def hosts_keys_serve() -> bool:
    """Whether the keys in the environment serve those who use the pages: on a shared server only where its host says
    so."""
    return not is_shared() or settings().hosted_for_visitors


def backend_for(
    visitor: str | None, session: str | None, provider: str, keys: VisitorKeys = KEYS, **options: Any
) -> Any:
    """Return a backend of a provider with the key of whoever asks: their own, else that of the environment.

    provider: or a backend that runs elsewhere, of which another Atlas gets their token.
    visitor: as `diffatlas.ui.visitors.visitor_of` names them; session: that of their tab, where they have no name.
    options: more of those of `diffatlas.backends.hosted.backend.HostedBackend`.

    Raises `KeyRefused` where they have none on a server whose own keys are not for visitors.
    """
    who = visitor or session or ""
    if provider in ELSEWHERE:
        token = token_for(who, keys)
        # What its models are called is said of its runs.
        elsewhere.learn_models(provider, token, anew=token is not None)
        return elsewhere.opened(provider, token)
    key = keys.of(who, provider)
    if key is None and not hosts_keys_serve():
        raise KeyRefused(
            "This server’s own keys are not for its visitors: type a key of yours on the page Settings.",
            field="key",
        )
    # Whoever pays with their own key has no budget here.
    return open_backend(provider, key=key, visitor=who if key is None and is_shared() else None, **options)
