"""Who runs a model for Hugging Face, and what is sent there: huggingface_hub's own mapping, without its requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from diffatlas.errors import HostedError, UnknownModel

TASK = "text-to-image"
#: The name that leaves the choice of a provider to the order that the account has set.
AUTO = "auto"
ROUTER = "https://router.huggingface.co"
#: Begins as every token of Hugging Face does, so that huggingface_hub routes by way of it. No key.
_NO_KEY = "hf_none"
_PART = re.compile(r"[\w.-]+")
_PROVIDER_ID = re.compile(r"[\w.-]+(?:[/:][\w.-]+)*")
#: What our own layer says of every request.
_OURS = ("authorization", "user-agent", "content-type", "accept")
#: Inputs that a provider calls by another name.
_RENAMED = {"num_inference_steps": "steps"}


@dataclass(frozen=True)
class Route:
    """A provider that runs a model, and its own name of the model."""

    provider: str
    model: str
    hub_model: str
    #: Of a LoRA that the provider runs on another model: its file in the Hub's repository.
    adapter_weights: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A request to the router, without the key."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    #: Inputs that the provider has no place for.
    left_out: tuple[str, ...] = ()


def known_providers() -> tuple[str, ...]:
    """Return the names of the providers that make images for Hugging Face, as huggingface_hub knows them."""
    from huggingface_hub.inference._providers import PROVIDERS

    return tuple(name for name, tasks in PROVIDERS.items() if TASK in tasks)


def routes_in(body: Any, model: str) -> tuple[Route, ...]:
    """Return the routes that the Hub lists for a model, in its order; what is none of the sort is left out.

    body: the JSON of ``/api/models/<model>?expand[]=inferenceProviderMapping``.
    """
    listed = body.get("inferenceProviderMapping") if isinstance(body, dict) else None
    if isinstance(listed, dict):
        listed = [{**one, "provider": name} for name, one in listed.items() if isinstance(one, dict)]
    found = []
    known = known_providers()
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("task") != TASK or one.get("provider") not in known:
            continue
        weights = one.get("adapterWeightsPath")
        if _is_provider_id(one.get("providerId")) and (weights is None or _is_file(weights)):
            found.append(Route(one["provider"], one["providerId"], model, weights))
    return tuple(found)


def chosen(routes: tuple[Route, ...], wanted: str, model: str) -> Route:
    """Return the route by a provider, or the first for "auto". Raises `UnknownModel` with those that there are."""
    for route in routes:
        if wanted in (AUTO, route.provider):
            return route
    if routes:
        others = ", ".join(route.provider for route in routes)
        raise UnknownModel(
            f"{wanted} does not run {model} for Hugging Face: choose one of {others}, or leave the provider out.",
            field="model",
        )
    raise UnknownModel(
        f"No provider runs {model} for Hugging Face: choose one of "
        f"https://huggingface.co/models?inference_provider=all&pipeline_tag={TASK}.",
        field="model",
    )


def prepare(route: Route, prompt: str, parameters: Mapping[str, Any]) -> Prepared:
    """Return the request that `huggingface_hub.InferenceClient.text_to_image` makes of these arguments.

    parameters: in InferenceClient's names. Raises `HostedError` where it leads anywhere but to the provider's place
    at the router.
    """
    from huggingface_hub.hf_api import InferenceProviderMapping
    from huggingface_hub.inference._providers import get_provider_helper

    mapping = InferenceProviderMapping(
        provider=route.provider,
        hf_model_id=route.hub_model,
        providerId=route.hub_model if route.provider == "hf-inference" else route.model,
        status="live",
        task=TASK,
        adapterWeightsPath=route.adapter_weights,
    )
    helper = copy(get_provider_helper(route.provider, TASK, route.hub_model))  # type: ignore[arg-type]
    helper._prepare_mapping_info = lambda model: mapping  # type: ignore[method-assign]
    request = helper.prepare_request(
        inputs=prompt, parameters=dict(parameters), headers={}, model=route.hub_model, api_key=_NO_KEY
    )
    path = urlsplit(request.url).path
    if request.json is None or not request.url.startswith(f"{ROUTER}/{route.provider}/") or ".." in path:
        raise HostedError(f"The Hub names a place for {route.hub_model} that is none of the router's.")
    headers = {name: value for name, value in request.headers.items() if name not in _OURS}
    return Prepared(path, headers, request.json, _left_out(parameters, request.json))


def split_model(text: str) -> tuple[str, str] | None:
    """Return the Hub's name of a model and its provider ("auto" where it names none), or None for another text."""
    name, _, provider = text.partition(":")
    parts = name.split("/")
    if len(parts) != 2 or not all(_PART.fullmatch(part) and part.strip(".") for part in parts):
        return None
    return name, provider or AUTO


def _is_provider_id(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 200 or ".." in value:
        return False
    return _PROVIDER_ID.fullmatch(value) is not None


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() and ".." not in value


def _left_out(parameters: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[str, ...]:
    inner = (body, *(value for value in body.values() if isinstance(value, dict)))
    names = {name for part in inner for name in part}
    sized = {"image_size", "size"} & names
    return tuple(
        name
        for name in parameters
        if name not in names
        and _RENAMED.get(name) not in names
        and not (name in ("width", "height") and sized)
    )
