"""Hugging Face's Inference Providers: models of the Hub that others run, by way of its router.

Which provider runs a model and what is sent there is huggingface_hub's own mapping (`huggingface_routes`); the answer
is read here, so that its request id, seed, timings and flags are kept (`huggingface_answers`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from diffatlas.backends.hosted import inputs
from diffatlas.backends.hosted.base import AnswersAtOnce, Job, Provider
from diffatlas.backends.hosted.http import Http, MaybeTaken
from diffatlas.backends.hosted.huggingface_answers import read_answer, read_result
from diffatlas.backends.hosted.huggingface_routes import (
    AUTO,
    ROUTER,
    Route,
    chosen,
    known_providers,
    prepare,
    routes_in,
    split_model,
)
from diffatlas.backends.hosted.refusals import REFUSED, content_refused
from diffatlas.errors import (
    DiffAtlasError,
    InvalidParams,
    NetworkError,
    RateLimited,
)
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: InferenceClient's names of inputs, where a model has no others (`HostedModel.names`).
NAMES = {"steps": "num_inference_steps", "guidance": "guidance_scale", "aspect": "aspect_ratio"}
HUB = "https://huggingface.co"
#: Seconds for which the Hub is not asked again who runs a model.
ROUTES_KEPT = 600.0


class HuggingFace(AnswersAtOnce):
    """The adapter of Hugging Face's Inference Providers."""

    def __init__(self) -> None:
        self._hub = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB
        self.provider = Provider(
            name="huggingface",
            label="Hugging Face",
            url=ROUTER,
            hosts=(urlsplit(self._hub).netloc,),
            variables=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
            keys_page="https://huggingface.co/settings/tokens",
            billing_page="https://huggingface.co/settings/billing",
            key_start="hf_",
        )
        #: Model of the Hub -> when the Hub was asked, and what it said.
        self._routes: dict[str, tuple[float, tuple[Route, ...]]] = {}

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return the arguments of `huggingface_hub.InferenceClient.text_to_image`; see `Adapter.arguments`."""
        named = split_model(model.id)
        if named is None:
            raise InvalidParams(
                f"{model.id!r:.80} is no model of Hugging Face: give owner/name, or owner/name:provider.",
                field="model",
            )
        if named[1] not in (AUTO, *known_providers()):
            raise InvalidParams(
                f"{named[1]!r:.40} makes no images for Hugging Face: known are {', '.join(known_providers())}.",
                field="model",
            )
        parameters = inputs.arguments(model, params, NAMES)
        prompt = parameters.pop("prompt")
        return {"model": named[0], "provider": named[1], "inputs": prompt, "parameters": parameters}

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Ask the Hub who runs the model, and that provider for an image."""
        route = chosen(
            await self._routes_of(http, arguments["model"]), arguments["provider"], arguments["model"]
        )
        request = prepare(route, arguments["inputs"], arguments["parameters"])
        headers = {**request.headers, "Accept": "image/png"}
        answer = await http.post(request.path, json=request.body, headers=headers, paid=True)
        told = {"provider": route.provider, "model": route.model, "body": request.body}
        if request.left_out:
            told["left_out"] = list(request.left_out)
        try:
            return read_answer(route.provider, answer, told)
        except DiffAtlasError as error:
            raise MaybeTaken(error) from None

    async def poll(self, http: Http, model: HostedModel, job: Job) -> Job:
        """Ask for the image of a provider that makes it while one waits."""
        path = str(job.told["result"])
        return read_result(job, (await http.get(path)).json())

    async def check_key(self, http: Http) -> None:
        """Ask whose token the key is."""
        self._online(http)
        await http.get(f"{self._hub_of(http)}/api/whoami-v2")

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Tell a model that is being loaded, and a refused prompt."""
        seconds = body.get("estimated_time") if isinstance(body, dict) else None
        if status == 503 and isinstance(seconds, (int, float)) and 0 <= seconds < float("inf"):
            return RateLimited(
                f"Hugging Face is still loading the model: try again later. It says: {said}",
                said=said,
                seconds=float(seconds),
            )
        if status in (400, 403, 422) and REFUSED.search(said):
            return content_refused("The provider", said)
        return None

    async def _routes_of(self, http: Http, model: str) -> tuple[Route, ...]:
        self._online(http)
        asked, routes = self._routes.get(model, (float("-inf"), ()))
        if time.monotonic() - asked > ROUTES_KEPT:
            path = f"{self._hub_of(http)}/api/models/{quote(model)}?expand[]=inferenceProviderMapping"
            routes = routes_in((await http.get(path)).json(), model)
            self._routes[model] = (time.monotonic(), routes)
        return routes

    def _is_moved(self, http: Http) -> bool:
        return http.provider.url != self.provider.url

    def _hub_of(self, http: Http) -> str:
        return http.provider.url if self._is_moved(http) else self._hub

    def _online(self, http: Http) -> None:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE and not self._is_moved(http):
            raise NetworkError(
                "HF_HUB_OFFLINE is set in the environment, so that nothing is asked of Hugging Face: unset it to use "
                "models that it runs, or choose a model of this machine."
            )
