"""Calls from the page: a JSON object in, one out, errors as values, and the visitor known by their cookie."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from diffatlas.errors import DiffAtlasError, InvalidParams, OverBound
from diffatlas.settings import is_shared, settings
from diffatlas.stopping import Stopped
from diffatlas.ui.desks import at_desk
from diffatlas.ui.signed_in import asked_by
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wire.calls import CALLS

log = logging.getLogger("diffatlas")

STOPPED = "This was stopped: ask again to have it."
NO_COOKIE = "This browser keeps no cookies, which tell what is yours: allow them for this site, and reload."


def answered(name: str, call: Callable[[str, Any], Any]) -> Callable[..., Any]:
    """Return ``call(visitor, asked)`` as a function for a component's ``server_functions``, of this name.

    ``asked`` is read into the type of the call (`diffatlas.ui.wire.calls.CALLS`), and what is wrong with it is said by
    name, before the call. What computes is done at one of the desks (`diffatlas.ui.desks`), and ends when its page is
    gone.

    An error comes back as ``{"error": {"message": ..., "field": the name of what is at fault, or None}}``,
    with ``"anyway": True`` where it can be asked for all the same.
    """
    wire = CALLS[name]

    def served(asked: Any, request: gr.Request) -> Any:
        try:
            visitor = visitor_of(request)
            if visitor is None:
                raise InvalidParams(NO_COOKIE)
            values = wire.read(asked)
            with asked_by(request), at_desk(name, visitor):
                answer = call(visitor, values)
            if settings().check_answers:
                wire.check(answer)
            return answer
        except Stopped:
            return {"error": {"message": STOPPED, "field": None}}
        except DiffAtlasError as error:
            told = {"message": error.message, "field": error.field}
            return {"error": told | ({"anyway": True} if can_be_confirmed(error) else {})}
        except Exception:
            log.exception("The page asked for %s, which failed.", name)
            return {"error": {"message": "The app could not do this; its log says why."}}

    served.__name__ = name
    served.__doc__ = call.__doc__
    return served


def can_be_confirmed(error: DiffAtlasError) -> bool:
    """Whether what was refused is only above a bound, which who is at their own machine may set aside."""
    return isinstance(error, OverBound) and not is_shared()
