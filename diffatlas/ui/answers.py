"""Calls from the page: a JSON object in, one out, errors as values, and the visitor known by their cookie."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.ui.visitors import visitor_of

log = logging.getLogger("diffatlas")

NO_COOKIE = "This browser keeps no cookies, which tell what is yours: allow them for this site, and reload."


def answered(name: str, call: Callable[[str, dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return ``call(visitor, asked)`` as a function for a component's ``server_functions``, of this name.

    An error comes back as ``{"error": {"message": ..., "field": the name of what is at fault, or None}}``.
    """

    def served(asked: Any, request: gr.Request) -> Any:
        try:
            visitor = visitor_of(request)
            if visitor is None:
                raise InvalidParams(NO_COOKIE)
            return call(visitor, asked if isinstance(asked, dict) else {})
        except DiffAtlasError as error:
            return {"error": {"message": error.message, "field": error.field}}
        except Exception:
            log.exception("The page asked for %s, which failed.", name)
            return {"error": {"message": "The app could not do this; its log says why."}}

    served.__name__ = name
    served.__doc__ = call.__doc__
    return served
