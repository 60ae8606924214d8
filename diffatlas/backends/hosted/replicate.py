"""Replicate's API: predictions that are created, polled and cancelled (replicate.com/docs/reference/http)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from diffatlas.backends.hosted import inputs
from diffatlas.backends.hosted.answers import told_in
from diffatlas.backends.hosted.base import Job, Provider
from diffatlas.backends.hosted.http import Answer, Http
from diffatlas.backends.hosted.refusals import REFUSED, content_refused, words_of
from diffatlas.errors import (
    CapabilityError,
    DiffAtlasError,
    HostedError,
    InvalidParams,
    UnknownModel,
)
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: Seeds that its models take.
MAX_SEED = 2**32 - 1
#: Its names of inputs, where a model has no others (`HostedModel.names`).
NAMES = {"steps": "num_inference_steps", "guidance": "guidance_scale", "aspect": "aspect_ratio"}
#: What of a prediction belongs to the run: its version and timings.
TOLD = ("model", "version", "created_at", "started_at", "completed_at", "metrics")
_MODEL = re.compile(r"([\w.-]+)/([\w.-]+)(?::([0-9a-f]{64}))?")
_SEED = re.compile(r"[Ss]eed:?\s+(\d{1,20})\b")
_STATES = {"starting": "waiting", "processing": "running", "succeeded": "done"}


class Replicate:
    """The adapter of Replicate."""

    provider = Provider(
        name="replicate",
        label="Replicate",
        url="https://api.replicate.com",
        variables=("REPLICATE_API_TOKEN",),
        keys_page="https://replicate.com/account/api-tokens",
        billing_page="https://replicate.com/account/billing",
        concurrent=8,
        revisions=True,
        follows=True,
    )

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return the inputs of the model; see `Adapter.arguments`."""
        if not _MODEL.fullmatch(model.id):
            raise InvalidParams(
                f"{model.id!r:.80} is no model of Replicate: give owner/name, or owner/name:version.",
                field="model",
            )
        if model.has("seed") and params.seed > MAX_SEED:
            raise CapabilityError(
                f"Replicate takes seeds from 0 to {MAX_SEED}, not {params.seed}.", field="seed"
            )
        version = {"version": params.revision} if params.revision else {}
        return {**version, "input": inputs.arguments(model, params, NAMES)}

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Create a prediction."""
        owner, name, version = _MODEL.fullmatch(model.id).groups()  # type: ignore[union-attr]
        version = arguments.get("version") or version or model.revision
        if not version:
            try:
                path = f"/v1/models/{owner}/{name}/predictions"
                return _job(await http.post(path, json={"input": arguments["input"]}, paid=True))
            except UnknownModel:
                # Only models that Replicate itself looks after run without a version.
                version = _newest((await http.get(f"/v1/models/{owner}/{name}")).json())
        body = {"version": version, "input": arguments["input"]}
        return _job(await http.post("/v1/predictions", json=body, paid=True))

    async def poll(self, http: Http, model: HostedModel, job: Job) -> Job:
        """Ask for the prediction."""
        return _job(await http.get(f"/v1/predictions/{quote(job.id, safe='')}"))

    async def cancel(self, http: Http, model: HostedModel, job: Job) -> None:
        """Cancel the prediction."""
        await http.post(f"/v1/predictions/{quote(job.id, safe='')}/cancel")

    async def check_key(self, http: Http) -> None:
        """Ask whose account the key is."""
        await http.get("/v1/account")

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Tell a refused prompt from an input that is wrong."""
        return content_refused("Replicate", said) if status in (400, 422) and REFUSED.search(said) else None

    async def recover(
        self, http: Http, model: HostedModel, arguments: Mapping[str, Any], since: float
    ) -> Job | None:
        """Look for the prediction among the newest of the account: of these inputs, made since then, the only one."""
        listed = (await http.get("/v1/predictions")).json()
        results = listed.get("results") if isinstance(listed, dict) else None
        found = [
            one
            for one in (results if isinstance(results, list) else [])
            if isinstance(one, dict)
            and one.get("input") == arguments["input"]
            and _is_of(model, one)
            and _created(one.get("created_at")) >= since - 5
        ]
        return _job_of(found[0]) if len(found) == 1 else None


def _job(answer: Answer) -> Job:
    return _job_of(answer.json())


def _job_of(body: Any) -> Job:
    """Read a prediction. Raises `HostedError` for one that failed, or that is none."""
    if not isinstance(body, dict) or not isinstance(body.get("id"), str) or not body["id"]:
        raise HostedError("Replicate answers with something that is no prediction: try again later.")
    state, said = body.get("status"), words_of(body.get("error"))
    if state in ("failed", "canceled", "aborted"):
        if REFUSED.search(said):
            raise content_refused("Replicate", said)
        why = "was ended at Replicate" if state != "failed" else "failed at Replicate"
        raise HostedError(f"The prediction {why}. It says: {said or 'nothing'}", said=said)
    if not isinstance(state, str) or state not in _STATES:
        raise HostedError(f"Replicate gives the prediction a state that it has no name for: {state!r:.40}.")
    output = body.get("output")
    images = output if isinstance(output, list) else [output]
    return Job(
        id=body["id"][:200],
        status=_STATES[state],
        words="the model is being started" if state == "starting" else "",
        images=tuple(one for one in images if isinstance(one, str)) if state == "succeeded" else (),
        seed=_seed(body.get("logs")),
        told=told_in(body, TOLD),
    )


def _newest(model: Any) -> str:
    """Return the newest version of a model. Raises `UnknownModel` for one that has none."""
    version = model.get("latest_version") if isinstance(model, dict) else None
    found = version.get("id") if isinstance(version, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"[\w-]{1,100}", found):
        raise UnknownModel("This model of Replicate has no version that runs: choose another.", field="model")
    return found


def _seed(logs: Any) -> int | None:
    found = _SEED.search(logs) if isinstance(logs, str) else None
    return int(found[1]) if found else None


def _is_of(model: HostedModel, prediction: Mapping[str, Any]) -> bool:
    named = prediction.get("model")
    return not isinstance(named, str) or named == model.id.partition(":")[0]


def _created(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return float("-inf")
