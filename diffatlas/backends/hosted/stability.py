"""Stability AI's API: a form that is answered with the image (platform.stability.ai/docs/api-reference, v2beta)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diffatlas.backends.hosted import inputs
from diffatlas.backends.hosted.answers import told_in
from diffatlas.backends.hosted.base import AnswersAtOnce, Job, Provider
from diffatlas.backends.hosted.http import Http, MaybeTaken
from diffatlas.backends.hosted.refusals import REFUSED, content_refused
from diffatlas.errors import CapabilityError, DiffAtlasError, HostedError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: Its names of inputs.
NAMES = {"guidance": "cfg_scale", "aspect": "aspect_ratio"}
#: The seeds that are one: it reads 0 as any seed.
SEEDS = (1, 2**32 - 2)
#: Models with an address of their own; that of the others is "sd3", and their name is a field.
OWN = ("core", "ultra")
_MODEL = re.compile(r"core|ultra|sd3[\w.-]*")


class Stability(AnswersAtOnce):
    """The adapter of Stability AI."""

    provider = Provider(
        name="stability",
        label="Stability AI",
        url="https://api.stability.ai",
        variables=("STABILITY_API_KEY",),
        keys_page="https://platform.stability.ai/account/keys",
        billing_page="https://platform.stability.ai/account/credits",
        aspects=("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "9:16", "9:21"),
    )

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return the fields of the form; see `Adapter.arguments`."""
        if not _MODEL.fullmatch(model.id):
            raise InvalidParams(
                f"{model.id!r:.80} is no model of Stability AI: give core, ultra, or one such as sd3.5-large.",
                field="model",
            )
        least, most = SEEDS
        if model.has("seed") and not least <= params.seed <= most:
            why = (
                " (it reads 0 as any seed, and would make another image each time)" if not params.seed else ""
            )
            raise CapabilityError(
                f"Stability AI takes seeds from {least} to {most}, not {params.seed}{why}.", field="seed"
            )
        named = {} if model.id in OWN else {"model": model.id}
        return {**named, **inputs.arguments(model, params, NAMES, self.provider.aspects)}

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Ask for the image, and wait for it: the answer is its file, and headers tell the rest."""
        name = model.id if model.id in OWN else "sd3"
        answer = await http.post(
            f"/v2beta/stable-image/generate/{name}",
            # Fields without a file name, since a form of several parts is what it reads.
            files={field: (None, str(value)) for field, value in arguments.items()},
            headers={"Accept": "image/*"},
            paid=True,
        )
        headers = answer.headers
        reason = headers.get("finish-reason", "")
        if reason == "CONTENT_FILTERED":
            raise content_refused("Stability AI")
        if not headers.get("content-type", "").startswith("image/"):
            raise MaybeTaken(HostedError("Stability AI answers with something that is no image."))
        seed = headers.get("seed", "")
        return Job(
            id=headers.get("x-request-id", "")[:200],
            status="done",
            images=(answer.content,),
            seed=int(seed) if re.fullmatch(r"[0-9]{1,20}", seed) else None,
            told=told_in({"finish_reason": reason}, ("finish_reason",)),
        )

    async def check_key(self, http: Http) -> None:
        """Ask how much credit the account has."""
        await http.get("/v1/user/balance")

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Tell a refused prompt, which Stability AI answers with 403, from a key without the right."""
        name = body.get("name") if isinstance(body, dict) else None
        if name == "content_moderation" or (status in (400, 403, 422) and REFUSED.search(said)):
            return content_refused("Stability AI", said)
        return None
