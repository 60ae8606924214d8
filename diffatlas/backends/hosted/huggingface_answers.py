"""What the providers behind Hugging Face's router answer, each in its own way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from diffatlas.backends.hosted.answers import address_in, picture_in, text_in, told_in, whole_in
from diffatlas.backends.hosted.base import Job
from diffatlas.backends.hosted.http import Answer
from diffatlas.backends.hosted.refusals import REFUSED, content_refused, words_of
from diffatlas.errors import HostedError, ProviderTimeout

#: Headers that tell a request, and how long it took.
_ID_HEADERS = ("x-request-id", "x-fal-request-id", "x-amzn-trace-id")
_TIME_HEADERS = ("x-compute-time", "x-compute-type", "x-inference-id")
_KEPT = (
    "model",
    "version",
    "timings",
    "metrics",
    "created",
    "created_at",
    "has_nsfw_concepts",
    "executionTime",
)
_PATH = re.compile(r"/[\w/-]+")
_FAILED = ("failed", "canceled", "aborted", "FAIL", "error")
_RUNNING = {"created": "waiting", "processing": "running", "PROCESSING": "running"}


def read_answer(provider: str, answer: Answer, told: Mapping[str, Any]) -> Job:
    """Return the job that an answer to the request for an image tells.

    provider: as huggingface_hub names it. told: what is known of the request already.

    Raises `HostedError`, or another error of its kind, for an answer without an image that could come later.
    """
    body = answer.json()
    job = Job(
        id=next((text_in(answer.headers[name]) for name in _ID_HEADERS if name in answer.headers), ""),
        status="done",
        told={**told, **told_in(answer.headers, _TIME_HEADERS)},
    )
    if body is None:
        return replace(job, images=(answer.content,))
    if not isinstance(body, dict):
        raise HostedError(f"{provider} answers Hugging Face with something that holds no image.")
    job = replace(job, id=_id(body) or job.id)
    if provider == "wavespeed":
        result = _wavespeed_path(body)
        return _later(replace(job, told={**job.told, "result": result}), body)
    if provider == "zai-org":
        result = f"/zai-org/api/paas/v4/async-result/{quote(job.id, safe='')}"
        return _later(replace(job, told={**job.told, "result": result}), body)
    _raise_failed(provider, body)
    images = _images(provider, body)
    if not images and provider == "replicate":
        raise ProviderTimeout(
            "Replicate had no image after the minute that Hugging Face waits for one: its model may be starting, try "
            "again later."
        )
    if not images:
        said = words_of(body)
        raise HostedError(
            f"{provider} answers Hugging Face without an image.{f' It says: {said}' if said else ''}",
            said=said,
        )
    if any(flag is True for flag in _list(body.get("has_nsfw_concepts"))):
        raise content_refused(provider)
    return replace(job, images=images, seed=whole_in(body.get("seed")), told={**job.told, **_about(body)})


def read_result(job: Job, body: Any) -> Job:
    """Return a job as a later answer tells it. Raises as `read_answer`."""
    if not isinstance(body, dict):
        raise HostedError(f"{job.told['provider']} answers Hugging Face with something that is no result.")
    return _later(job, body)


def _later(job: Job, body: Mapping[str, Any]) -> Job:
    provider = str(job.told["provider"])
    inner = body.get("data")
    result: Mapping[str, Any] = inner if isinstance(inner, dict) else body
    _raise_failed(provider, result)
    state = result.get("status") or result.get("task_status")
    if isinstance(state, str) and state in _RUNNING:
        return replace(job, status=_RUNNING[state])
    images = _images(provider, result)
    if not images:
        raise HostedError(f"{provider} gives the request a state that it has no name for: {state!r:.40}.")
    seed = whole_in(result.get("seed"))
    return replace(job, status="done", images=images, seed=seed, told={**job.told, **_about(result)})


def _images(provider: str, body: Mapping[str, Any]) -> tuple[bytes | str, ...]:
    """Return the pictures of an answer: their files, or where they are."""
    output = body.get("output")
    found = []
    for one in (
        *_list(body.get("images")),
        *_list(body.get("data")),
        *_list(body.get("outputs")),
        *_list(body.get("image_result")),
        *(_list(output) or [output]),
    ):
        fields = one if isinstance(one, dict) else {"url": one}
        image = picture_in(fields.get("b64_json"), provider) or address_in(fields.get("url"))
        if image is None and str(fields.get("url")).startswith("data:"):
            image = picture_in(fields.get("url"), provider)
        if image:
            found.append(image)
    return tuple(found)


def _about(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer tells of its run, under names that do not hide those of the request."""
    told = told_in(body, _KEPT)
    if "model" in told:
        told["ran"] = told.pop("model")
    return told


def _raise_failed(provider: str, body: Mapping[str, Any]) -> None:
    state = body.get("status") or body.get("task_status")
    if state not in _FAILED:
        return
    said = words_of(body.get("error"))
    if REFUSED.search(said):
        raise content_refused(provider, said)
    raise HostedError(f"The request failed at {provider}. It says: {said or 'nothing'}", said=said)


def _id(body: Mapping[str, Any]) -> str:
    inner = body.get("data")
    within = inner.get("id") if isinstance(inner, dict) else None
    return text_in(body.get("id")) or text_in(body.get("request_id")) or text_in(within)


def _wavespeed_path(body: Mapping[str, Any]) -> str:
    """Return where at the router the result will be. Raises `HostedError` for a place that is none of WaveSpeed's."""
    inner = body.get("data")
    urls = inner.get("urls") if isinstance(inner, dict) else None
    address = urls.get("get") if isinstance(urls, dict) else None
    try:
        path = urlsplit(address).path if isinstance(address, str) else ""
    except ValueError:
        path = ""
    if not _PATH.fullmatch(path):
        raise HostedError("wavespeed does not tell Hugging Face where its image will be.")
    return f"/wavespeed{path}"


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else []
