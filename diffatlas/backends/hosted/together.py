"""Together AI's API: a request that is answered with the image (docs.together.ai/reference/post-images-generations)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diffatlas.backends.hosted import inputs
from diffatlas.backends.hosted.answers import address_in, picture_in, text_in, told_in, whole_in
from diffatlas.backends.hosted.base import AnswersAtOnce, Job, Provider
from diffatlas.backends.hosted.http import Http, MaybeTaken
from diffatlas.backends.hosted.refusals import REFUSED, content_refused
from diffatlas.errors import (
    BadDownload,
    CapabilityError,
    DiffAtlasError,
    HostedError,
    InvalidParams,
    PaymentRequired,
    UnknownModel,
)
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: Its names of inputs, where a model has no others (`HostedModel.names`).
NAMES = {"guidance": "guidance_scale", "aspect": "aspect_ratio"}
_MODEL = re.compile(r"\w[\w.-]*(?:/\w[\w.:-]*)+")
_NOT_SHARED = "third_party_data_sharing_blocked"


class Together(AnswersAtOnce):
    """The adapter of Together AI."""

    provider = Provider(
        name="together",
        label="Together AI",
        url="https://api.together.xyz",
        variables=("TOGETHER_API_KEY",),
        keys_page="https://api.together.ai/settings/api-keys",
        billing_page="https://api.together.ai/settings/billing",
        reset_header="x-ratelimit-reset",
    )

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return the body of the request; see `Adapter.arguments`."""
        if not _MODEL.fullmatch(model.id):
            raise InvalidParams(
                f"{model.id!r:.80} is no model of Together AI: give owner/name.", field="model"
            )
        sent = inputs.arguments(model, params, NAMES)
        return {"model": model.id, "n": 1, "response_format": "base64", **sent}

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Ask for the image, and wait for it: it comes with the answer."""
        body = (await http.post("/v1/images/generations", json=dict(arguments), paid=True)).json()
        data = body.get("data") if isinstance(body, dict) else None
        first = data[0] if isinstance(data, list) and data else None
        if not isinstance(first, dict):
            raise MaybeTaken(HostedError("Together AI answers with something that holds no image."))
        try:
            image = picture_in(first.get("b64_json"), "Together AI") or address_in(first.get("url"))
        except BadDownload as error:
            raise MaybeTaken(error) from None
        return Job(
            id=text_in(body.get("id")),
            status="done",
            images=(image,) if image else (),
            seed=whole_in(first.get("seed")),
            told=told_in(body, ("model", "created"))
            | told_in(first, ("timings", "finish_reason", "revised_prompt")),
        )

    async def check_key(self, http: Http) -> None:
        """Ask which models there are."""
        await http.get("/v1/models")

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Tell apart a refused prompt, a model that is not served, and one that the account may not use."""
        quoted = f" It says: {said}" if said else ""
        if _NOT_SHARED in said or _code(body) == _NOT_SHARED:
            return CapabilityError(
                "Together AI has this model run by another company, which the account does not allow: allow it in the "
                f"organization's settings there (Privacy), or choose another model.{quoted}",
                field="model",
            )
        if "available for tier" in said:
            return PaymentRequired(
                f"Together AI serves this model to accounts that have bought more credit: see "
                f"{self.provider.billing_page}.{quoted}",
                field="model",
                said=said,
            )
        if "non-serverless" in said:
            return UnknownModel(
                f"Together AI runs this model only on machines of one's own there: choose another.{quoted}",
                field="model",
            )
        if status in (400, 422) and REFUSED.search(said):
            return content_refused("Together AI", said)
        return None


def _code(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""
