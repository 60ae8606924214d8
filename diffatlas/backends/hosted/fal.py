"""fal's API: requests that are put in a queue, looked at, fetched and cancelled (fal.ai/docs, "Queue API")."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from diffatlas.backends.hosted import inputs
from diffatlas.backends.hosted.answers import address_in, told_in, whole_in
from diffatlas.backends.hosted.base import Job, Provider
from diffatlas.backends.hosted.http import Answer, Http, MaybeTaken
from diffatlas.backends.hosted.refusals import REFUSED, content_refused, words_of
from diffatlas.errors import (
    DiffAtlasError,
    HostedError,
    InvalidParams,
    PaymentRequired,
    ProviderDown,
    ProviderTimeout,
)
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: Its names of inputs, where a model has no others (`HostedModel.names`). It takes sides, and no shapes.
NAMES = {"steps": "num_inference_steps", "guidance": "guidance_scale", "aspect": ""}
#: Has the model that was asked for make the image, and no other in its place where it is down.
HEADERS = {"x-app-fal-disable-fallback": "true"}
#: Seconds that its clock may be behind this machine's.
CLOCK = 5.0
#: A model's id: what its requests are looked up under, and what stands after that.
_MODEL = re.compile(r"((?:(?:workflows|comfy)/)?\w[\w.-]*/\w[\w.-]*)((?:/\w[\w.-]*)*)")
_NO_CREDIT = re.compile(r"exhausted balance|top.?up|balance|billing", re.IGNORECASE)
_STATES = {"IN_QUEUE": "waiting", "IN_PROGRESS": "running", "COMPLETED": "done"}
_TOO_SLOW = ("request_timeout", "startup_timeout")


class Fal:
    """The adapter of fal."""

    # Its own client turns to falrun.com where fal.run cannot be reached: the key is not sent there.
    provider = Provider(
        name="fal",
        label="fal",
        url="https://queue.fal.run",
        hosts=("api.fal.ai",),
        variables=("FAL_KEY",),
        keys_page="https://fal.ai/dashboard/keys",
        billing_page="https://fal.ai/dashboard/billing",
        scheme="Key",
        follows=True,
    )

    def arguments(self, model: HostedModel, params: GenerationParams) -> dict[str, Any]:
        """Return the inputs of the model; see `Adapter.arguments`."""
        if not _MODEL.fullmatch(model.id):
            raise InvalidParams(
                f"{model.id!r:.80} is no model of fal: give owner/name, such as fal-ai/flux/dev.",
                field="model",
            )
        sent = inputs.arguments(model, params, NAMES)
        sides = {side: sent.pop(side) for side in ("width", "height") if side in sent}
        return {**sent, "image_size": sides} if sides else sent

    async def create(self, http: Http, model: HostedModel, arguments: Mapping[str, Any]) -> Job:
        """Put a request in the queue."""
        answer = await http.post(f"/{model.id}", json=dict(arguments), headers=HEADERS, paid=True)
        body = answer.json()
        named = body.get("request_id") if isinstance(body, dict) else None
        key = named if isinstance(named, str) and named else answer.headers.get("x-fal-request-id", "")
        if not key:
            raise MaybeTaken(HostedError("fal answers with something that is no request: try again later."))
        return Job(id=key[:200], status="waiting", words=_place(body))

    async def poll(self, http: Http, model: HostedModel, job: Job) -> Job:
        """Ask where the request is, and fetch its result once there is one."""
        body = (await http.get(f"{_path(model, job)}/status")).json()
        state = body.get("status") if isinstance(body, dict) else None
        if not isinstance(state, str) or state not in _STATES:
            said = words_of(body)
            raise HostedError(
                f"fal gives the request a state that it has no name for: {state!r:.40}."
                + (f" It says: {said}" if said else ""),
                said=said,
            )
        if state != "COMPLETED":
            return Job(id=job.id, status=_STATES[state], words=_place(body))
        _check_end(body)
        return _result(job, await http.get(_path(model, job)), told_in(body, ("metrics",)))

    async def cancel(self, http: Http, model: HostedModel, job: Job) -> None:
        """Cancel the request, which fal does as long as nothing works on it."""
        await http.put(f"{_path(model, job)}/cancel")

    async def check_key(self, http: Http) -> None:
        """Ask what a model costs, which needs a key."""
        await http.get(_platform(http, "/v1/models/pricing", endpoint_id="fal-ai/flux/schnell"))

    def refusal(self, status: int, said: str, body: Any) -> DiffAtlasError | None:
        """Tell apart a refused prompt, and an account without credit, which fal answers with 403."""
        quoted = f" It says: {said}" if said else ""
        if status == 403 and "locked" in said and _NO_CREDIT.search(said):
            return PaymentRequired(
                f"The account at fal has no credit: see {self.provider.billing_page}.{quoted}", said=said
            )
        kinds = _kinds(body)
        refused = "content_policy_violation" in kinds if kinds else REFUSED.search(said)
        if status in (400, 422) and refused:
            return content_refused("fal", said)
        return None

    async def recover(
        self, http: Http, model: HostedModel, arguments: Mapping[str, Any], since: float
    ) -> Job | None:
        """Look for the request among those of the account: of these inputs, made since then, the only one.

        It is listed some time after it was made, so it is looked for more than once.
        """
        start = datetime.fromtimestamp(since - CLOCK, UTC).isoformat().replace("+00:00", "Z")
        path = _platform(
            http, "/v1/models/requests/by-endpoint", endpoint_id=model.id, start=start, expand="payloads"
        )
        for attempt in range(http.patience.attempts):
            if attempt:
                await asyncio.sleep(http.patience.look_most)
            listed = (await http.get(path)).json()
            items = listed.get("items") if isinstance(listed, dict) else None
            found = [
                one["request_id"]
                for one in (items if isinstance(items, list) else [])
                if isinstance(one, dict)
                and isinstance(one.get("request_id"), str)
                and one.get("json_input") == dict(arguments)
                and _time(one.get("sent_at")) >= since - CLOCK
            ]
            if found:
                return Job(id=found[0][:200], status="waiting") if len(found) == 1 else None
        return None


def _path(model: HostedModel, job: Job) -> str:
    """Return where a request is: under its model's id, without what stands after owner and name."""
    return f"/{_MODEL.fullmatch(model.id)[1]}/requests/{quote(job.id, safe='')}"  # type: ignore[index]


def _platform(http: Http, path: str, **query: str) -> str:
    """Return the address of what fal tells of models and requests, which is on a host of its own.

    Where fal's address was moved, all is there.
    """
    host = next((f"https://{one}" for one in http.provider.hosts), "")
    return f"{host}{path}?{urlencode(query)}"


def _place(body: Any) -> str:
    before = whole_in(body.get("queue_position")) if isinstance(body, dict) else None
    if before is None or before < 0:
        return ""
    return f"in the queue, {before} before it" if before else "in the queue, the next one"


def _check_end(body: Mapping[str, Any]) -> None:
    """Raise the typed error of a request that ended without a result because of fal itself."""
    kind, said = body.get("error_type"), words_of(body.get("error"))
    quoted = f" It says: {said}" if said else ""
    if kind in _TOO_SLOW:
        raise ProviderTimeout(f"fal was too slow with the request: try again later.{quoted}", said=said)
    if isinstance(kind, str) and kind.startswith(("runner_", "internal_error")):
        raise ProviderDown(f"fal has a fault of its own: try again later.{quoted}", said=said)


def _result(job: Job, answer: Answer, metrics: Mapping[str, Any]) -> Job:
    """Read the result of a request. Raises `ContentRefused` where its image is withheld: it is black then."""
    body = answer.json()
    if not isinstance(body, dict):
        raise HostedError("fal answers with something that is no result: try again later.")
    flags = body.get("has_nsfw_concepts")
    if isinstance(flags, list) and any(flag is True for flag in flags):
        raise content_refused("fal")
    images = body.get("images")
    listed = images if isinstance(images, list) else [body.get("image")]
    addresses = [address_in(one.get("url")) for one in listed if isinstance(one, dict)]
    return Job(
        id=job.id,
        status="done",
        images=tuple(filter(None, addresses)),
        seed=whole_in(body.get("seed")),
        told=dict(metrics) | told_in(body, ("timings", "has_nsfw_concepts")),
    )


def _kinds(body: Any) -> list[str]:
    """Return the kinds of the errors that an answer lists, as far as it names any."""
    detail = body.get("detail") if isinstance(body, dict) else None
    errors = [one for one in (detail if isinstance(detail, list) else [detail]) if isinstance(one, dict)]
    found = [one.get("type") or one.get("error") for one in errors]
    return [kind for kind in found if isinstance(kind, str)]


def _time(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return float("-inf")
