"""What the Settings page asks about another Atlas: its address, the token for it, and whether it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from diffatlas.backends.elsewhere import host_of
from diffatlas.errors import DiffAtlasError, InvalidParams, KeyRefused
from diffatlas.settings import is_shared, settings
from diffatlas.ui import elsewhere
from diffatlas.ui.visitor_keys import KEYS, VisitorKeys, token_for, token_name
from diffatlas.ui.wire.kinds import Nothing
from diffatlas.ui.wire.settings import AddressTyped, AtlasOf, Checked, Source, TokenTyped

ABOUT = (
    "Models can run at any other Atlas (diffatlas serve), whose runs show their path here as those of this machine do. "
    "A token that you type goes to the memory of this server, and from there to this address alone. It is never shown "
    "again, and is dropped two minutes after you close the page."
)
ON_A_SHARED_SERVER = "On a shared server only its host names another Atlas."
#: Models that a sentence names.
MOST_NAMED = 4


class AtlasServices:
    """Another Atlas, as the Settings page has it. keys: those of this process."""

    def __init__(self, keys: VisitorKeys = KEYS) -> None:
        self._keys = keys

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "atlas": self.told,
            "atlas_address": self.address,
            "atlas_token": self.token,
            "atlas_forget": self.forget,
            "atlas_check": self.check,
        }

    def told(self, visitor: str, asked: Nothing) -> AtlasOf:
        """Return where another Atlas is, and whether there is a token for it."""
        url = elsewhere.address()
        typed = bool(url) and url != settings().remote_url
        shown = url if typed else host_of(url)
        return {
            "address": "" if is_shared() else shown,
            "typed": typed,
            "token": self._source(visitor, url),
            "closed": ON_A_SHARED_SERVER if is_shared() else "",
            "offered": not elsewhere.why_not("remote"),
            "warning": _warning(url),
            "about": ABOUT,
        }

    def address(self, visitor: str, asked: AddressTyped) -> AtlasOf:
        """Take the address of another Atlas; an empty one leaves that of the environment.

        Raises `InvalidParams` for what is no address, and on a shared server.
        """
        elsewhere.set_address(asked.address)
        return self.told(visitor, Nothing())

    def token(self, visitor: str, asked: TokenTyped) -> AtlasOf:
        """Take a token for another Atlas at the address that it has now. Raises `InvalidParams`, `KeyRefused`."""
        url = elsewhere.address()
        if is_shared() or not url:
            raise InvalidParams(
                ON_A_SHARED_SERVER if is_shared() else "A token is for an address: give that first.",
                field="token",
            )
        self._keys.put_token(visitor, url, asked.token)
        return self.told(visitor, Nothing())

    def forget(self, visitor: str, asked: Nothing) -> AtlasOf:
        """Drop a token that was typed."""
        self._keys.forget(visitor, token_name(elsewhere.address()))
        return self.told(visitor, Nothing())

    def check(self, visitor: str, asked: Nothing) -> Checked:
        """Ask another Atlas what it offers."""
        try:
            models = elsewhere.ask_models("remote", self.held(visitor))
            return {"taken": True, "words": _answered(elsewhere.opened("remote", self.held(visitor)), models)}
        except KeyRefused:
            return {"taken": False, "words": _refused(self._source(visitor, elsewhere.address()))}
        except DiffAtlasError as error:
            return {"taken": False, "words": error.message}

    def held(self, visitor: str) -> SecretStr | None:
        """Return the token that a visitor has typed, for a request that is made for them."""
        return token_for(visitor, self._keys)

    def _source(self, visitor: str, url: str) -> Source:
        if self.held(visitor) is not None:
            return "typed"
        return "environment" if elsewhere.has_token_of_environment(url) else "none"


def _refused(source: Source) -> str:
    there = "DIFFATLAS_TOKEN there"
    if source == "none":
        return f"The Atlas at {elsewhere.host()} asks for a token: type what is in {there}."
    return f"The Atlas at {elsewhere.host()} does not take this token: it has to be what is in {there}."


def _answered(backend: Any, models: list[Any]) -> str:
    """Return a sentence on an Atlas that answered: where it is, what it runs on, its version, its models."""
    facts = getattr(backend, "about", {})
    version = f", version {facts['version']}" if facts.get("version") else ""
    names = [entry.name for entry in models]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    offers = f"it offers {', '.join(names[:MOST_NAMED])}{more}" if names else "it lists no model"
    runs = f"it runs on {facts['device']}, and " if facts.get("device") else ""
    return f"The Atlas at {elsewhere.host()} answers{version}: {runs}{offers}."


def _warning(url: str) -> str:
    """Return what to beware of with an address; "" for nothing."""
    parts = urlsplit(url)
    near = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not url or parts.scheme == "https" or near:
        return ""
    return "This address is not encrypted: whoever listens on the network reads along. Use https:// where you can."
