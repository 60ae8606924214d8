"""What the Settings page asks, and the status line of all pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import Answer, Asked, Measured, Nothing

#: Whose key of a provider is used.
Source = Literal["typed", "environment", "none"]


@dataclass(frozen=True, kw_only=True)
class ModelAsked(Asked):
    """A model of a backend, "local" or a provider; its first where it is empty."""

    backend: str
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class ProviderAsked(Asked):
    """A provider of hosted models."""

    provider: str


@dataclass(frozen=True, kw_only=True)
class KeyTyped(ProviderAsked):
    """A key that was typed. It goes to the server's memory, and into no answer: also what is no text is refused without
    being shown."""

    key: Any = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AddressTyped(Asked):
    """The address of another Atlas; empty for that of the environment."""

    address: str


@dataclass(frozen=True, kw_only=True)
class TokenTyped(Asked):
    """A token for another Atlas that was typed. It goes where a key goes (`KeyTyped`)."""

    token: Any = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StatusAsked(Asked):
    """What the form in sight asks for; empty where the page has none."""

    backend: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class InvitationAsked(Asked):
    """How others come here. page: the address under which whoever asks has come, without what it asks."""

    page: str = ""


class Invited(Answer):
    """How others come here.

    address: empty where nobody else can. words: a sentence on it. warning: what to beware of, or empty. size: modules
    of a side of its QR code; path: its dark ones, as an SVG path has it.
    """

    address: str
    words: str
    warning: str
    size: int
    path: str


class Choice(Answer):
    """One of several, by its id."""

    id: str
    name: str


class Place(Answer):
    """Where models run, and those that are listed there, the first of them first."""

    id: str
    name: str
    models: list[Choice]


class Places(Answer):
    """All places."""

    backends: list[Place]


class Defaults(Answer):
    """What a model is run with unless something else is asked. Values and ranges are None where none are known.

    taken: those of steps, guidance and size that it heeds, as far as that is known.
    """

    backend: str
    model: str
    name: str
    notes: str
    steps: int | None
    steps_range: tuple[float, float] | None
    guidance: Measured
    guidance_range: tuple[float, float] | None
    size: str | None
    sides: str | None
    taken: list[str]
    #: Sentences on what it does not heed, or will not do here.
    warnings: list[str]


class KeyOf(Answer):
    """Whether there is a key for a provider, and where from; never a part of it."""

    id: str
    name: str
    source: Source
    #: The environment variable that holds it, or could.
    variable: str
    host: str
    keys_page: str
    #: How many images were made with it today, in a sentence; "" where there is nothing to say.
    made: str


class KeysOf(Answer):
    """The keys of whoever asks."""

    keys: list[KeyOf]
    #: Where keys go, in a sentence.
    about: str


class Checked(Answer):
    """Whether a provider takes the key, in a sentence."""

    taken: bool
    words: str


class AtlasOf(Answer):
    """Where another Atlas is, and whether there is a token for it; never a part of that."""

    #: Empty where none is named, and on a shared server; of the environment host and port alone.
    address: str
    #: Whether it was typed.
    typed: bool
    token: Source
    #: Why it cannot be changed here; "" where it can.
    closed: str
    #: Whether the forms offer it.
    offered: bool
    #: What to beware of, in a sentence; "" for nothing.
    warning: str
    #: What it is, and where a token goes.
    about: str


class Fits(Answer):
    """A listed model, and whether it would fit; bytes. fits: None where it is not known what it needs."""

    id: str
    name: str
    needed: int | None
    fits: bool | None
    loaded: bool


class MachineOf(Answer):
    """What models run on here; bytes."""

    device: str
    dtype: str
    free: int
    total: int
    models: list[Fits]


class Kept(Answer):
    """What the library takes; bytes. loose: what clearing would delete. cap: 0 for no limit."""

    #: None on a shared server, whose folders are nobody's business.
    folder: str | None
    runs: int
    bytes: int
    cap: int
    loose_runs: int
    loose_bytes: int
    served: int
    expires: str | None


class Cleared(Answer):
    """How many runs were deleted, and what the library takes now."""

    deleted: int
    kept: Kept


class Variable(Answer):
    """An environment variable of the installation: what it is, or would be; secrets are "set" or "not set"."""

    name: str
    value: str
    about: str
    given: bool


class Variables(Answer):
    """Those that matter to whoever asks."""

    variables: list[Variable]


class Status(Answer):
    """What the line says, of the form in sight and of the server."""

    backend: str
    model: str
    #: Empty for a hosted model, and until it is known.
    device: str
    #: Runs of everybody that have a turn, and that wait for one; studies and jobs of whoever asks.
    running: int
    waiting: int
    studies: int
    jobs: int
    warnings: list[str]


CALLS = {
    "settings_places": Call(Nothing, Places),
    "settings_model": Call(ModelAsked, Defaults),
    "settings_keys": Call(Nothing, KeysOf),
    "key_put": Call(KeyTyped, KeysOf),
    "key_forget": Call(ProviderAsked, KeysOf),
    "key_check": Call(ProviderAsked, Checked),
    "atlas": Call(Nothing, AtlasOf),
    "atlas_address": Call(AddressTyped, AtlasOf),
    "atlas_token": Call(TokenTyped, AtlasOf),
    "atlas_forget": Call(Nothing, AtlasOf),
    "atlas_check": Call(Nothing, Checked),
    "settings_machine": Call(Nothing, MachineOf),
    "settings_library": Call(Nothing, Kept),
    "library_clear": Call(Nothing, Cleared),
    "settings_variables": Call(Nothing, Variables),
    "status": Call(StatusAsked, Status),
    "invitation": Call(InvitationAsked, Invited),
}
