"""Which prompt a pipeline encodes, so that the keys of its cross-attention have names."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffatlas.capture.tokens import token_table

log = logging.getLogger("diffatlas")


@contextmanager
def prompts_seen(pipe: Any, see: Callable[[Any], None]) -> Iterator[None]:
    """Call ``see`` with every prompt that ``pipe.encode_prompt`` is given inside the context.

    The prompt is a text, a list of texts by image, or None where embeddings were given. A pipeline without such a
    method, which those of diffusers have, shows nothing.
    """
    encode = getattr(pipe, "encode_prompt", None)
    if not callable(encode):
        yield
        return
    own = vars(pipe).get("encode_prompt")
    signature = inspect.signature(encode)

    @functools.wraps(encode)
    def encode_prompt(*args: Any, **kwargs: Any) -> Any:
        see(signature.bind(*args, **kwargs).arguments.get("prompt"))
        return encode(*args, **kwargs)

    pipe.encode_prompt = encode_prompt
    try:
        yield
    finally:
        if own is None:
            del pipe.encode_prompt
        else:
            pipe.encode_prompt = own


def text_of(pipe: Any, prompt: Any, length: int) -> list[dict[str, Any]] | None:
    """Return the ``length`` tokens of a prompt as plain JSON types (`diffatlas.capture.tokens.Token`).

    None where there is no one prompt, or its tokens cannot be told: the maps are the same without their names.
    """
    prompts = {prompt} if isinstance(prompt, str) else set(prompt or ())
    if len(prompts) != 1:
        return None
    try:
        return [token.to_dict() for token in token_table(pipe, prompts.pop(), length)]
    except Exception:
        log.warning("The tokens of the prompt cannot be told.", exc_info=True)
        return None
