"""Who asks: the request of a call of a page, for as long as it lasts, and on a Space who is signed in to Hugging Face.

Gradio keeps the token of a sign-in in a signed cookie that scripts cannot read (`gr.LoginButton`), and nowhere else.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.utils import get_space

#: What a Space with a sign-in has in its environment (README's ``hf_oauth``).
_OF_SIGN_IN = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")


@dataclass(frozen=True)
class SignedIn:
    """A user of the Hub, and the token that they have given to this Space."""

    name: str
    token: str = field(repr=False)


def can_sign_in() -> bool:
    """Whether visitors can sign in to Hugging Face here."""
    known = get_space() is not None and all(os.environ.get(name) for name in _OF_SIGN_IN)
    return known and all(importlib.util.find_spec(name) for name in ("authlib", "itsdangerous"))


@contextmanager
def asked_by(request: gr.Request) -> Iterator[None]:
    """Let what happens meanwhile be asked for by the visitor of ``request``, as in an event of Gradio's.

    The platform counts the seconds of a GPU that is lent to whoever asks.
    """
    before = LocalContext.request.set(request)
    try:
        yield
    finally:
        LocalContext.request.reset(before)


def signed_in() -> SignedIn | None:
    """Return who is signed in of those that ask now; None where nobody is, or no longer."""
    request = LocalContext.request.get(None)
    scope: Any = getattr(getattr(request, "request", request), "scope", None) or {}
    told = (scope.get("session") or {}).get("oauth_info")
    if not can_sign_in() or not isinstance(told, dict) or not told.get("access_token"):
        return None
    ends = told.get("expires_at")
    if ends is not None and ends < time.time():
        return None
    return SignedIn(str(told.get("userinfo", {}).get("preferred_username", "")), str(told["access_token"]))
