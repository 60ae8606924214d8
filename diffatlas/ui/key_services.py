"""What the Settings page asks about keys. None is ever in an answer: only whether there is one, and where from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from diffatlas.backends.hosted import provider_of
from diffatlas.backends.hosted.base import Provider
from diffatlas.backends.hosted.http import Patience
from diffatlas.backends.hosted.keys import variable_of
from diffatlas.backends.hosted.money import made_today
from diffatlas.errors import DiffAtlasError, HostedError, KeyRefused
from diffatlas.settings import is_shared, settings
from diffatlas.ui import places
from diffatlas.ui.visitor_keys import KEYS, VisitorKeys, backend_for, hosts_keys_serve
from diffatlas.ui.wire.kinds import Nothing
from diffatlas.ui.wire.settings import Checked, KeyOf, KeysOf, KeyTyped, ProviderAsked, Source

#: Whoever checks a key waits for the answer.
SHORT = Patience(answer=15.0, attempts=2, first=0.3, asked=5.0)
ABOUT = (
    "A key that you type goes to the memory of this server, and from there to the provider’s own address and to no "
    "other. It is never shown again, written down or put into a link, and is dropped two minutes after you close the "
    "page."
)


class KeyServices:
    """Keys of visitors. keys: those of this process."""

    def __init__(self, keys: VisitorKeys = KEYS) -> None:
        self._keys = keys

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "settings_keys": self.keys,
            "key_put": self.put,
            "key_forget": self.forget,
            "key_check": self.check,
        }

    def keys(self, visitor: str, asked: Nothing) -> KeysOf:
        """Return for each provider whether there is a key."""
        return self._told(visitor)

    def put(self, visitor: str, asked: KeyTyped) -> KeysOf:
        """Take a key."""
        self._keys.put(visitor, asked.provider, asked.key)
        return self._told(visitor)

    def forget(self, visitor: str, asked: ProviderAsked) -> KeysOf:
        """Drop a key that was typed."""
        self._keys.forget(visitor, asked.provider)
        return self._told(visitor)

    def check(self, visitor: str, asked: ProviderAsked) -> Checked:
        """Ask a provider whether it takes the key that would be used."""
        provider = provider_of(asked.provider)
        try:
            backend_for(visitor, None, provider.name, self._keys, patience=SHORT).check_key()
        except KeyRefused as error:
            page = "" if provider.keys_page in error.message else f" {provider.keys_page} makes one."
            return {"taken": False, "words": error.message + page}
        except HostedError as error:
            return {"taken": False, "words": error.message}
        return {"taken": True, "words": f"{provider.label} takes this key."}

    def source(self, visitor: str, provider: Provider) -> Source:
        """Return whose key a visitor would use."""
        if self._keys.of(visitor, provider.name) is not None:
            return "typed"
        return "environment" if hosts_keys_serve() and variable_of(provider) else "none"

    def lacks_key(self, visitor: str, backend: str) -> bool:
        """Whether a backend is of a provider for which a visitor has no key."""
        try:
            return backend != places.LOCAL and self.source(visitor, provider_of(backend)) == "none"
        except DiffAtlasError:
            return False

    def _told(self, visitor: str) -> KeysOf:
        return {
            "keys": [self._one(visitor, provider) for provider in places.providers()],
            "about": ABOUT,
        }

    def _one(self, visitor: str, provider: Provider) -> KeyOf:
        source = self.source(visitor, provider)
        return {
            "id": provider.name,
            "name": provider.label,
            "source": source,
            "made": _made(visitor, provider, source),
            "variable": variable_of(provider) or provider.variables[0],
            "host": " and ".join([urlsplit(provider.url).hostname or "", *provider.hosts]),
            "keys_page": provider.keys_page,
        }


def _made(visitor: str, provider: Provider, source: Source) -> str:
    """Return how many images were made today, as far as whoever asks is to know; "" for nothing to say.

    Visitors of a shared server are told their own of those that its host pays for: other people's are not theirs to
    know, and what they pay for themselves their provider tells.
    """
    shared = is_shared()
    if shared and source != "environment":
        return ""
    try:
        made = made_today(provider.name, visitor if shared else None)
    except DiffAtlasError as error:
        return error.message
    if not made.images:
        return ""
    most = f"; this server pays for {settings().hosted_visitor_images} a day, at all providers together"
    return f"Made today: {made.words()}{most if shared else ''}."
