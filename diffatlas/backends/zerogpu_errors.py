"""What ZeroGPU says when it lends no GPU or takes one back, as typed errors.

The platform says it in errors of Gradio: a title of its own, and a sentence. Both are read by name, so that neither
package is needed here.
"""

from __future__ import annotations

from diffatlas.errors import (
    BackendFailure,
    DiffAtlasError,
    GpuRefused,
    NetworkError,
    Overrun,
    ProviderDown,
    ProviderTimeout,
)

#: Of the platform's titles: the error, and what to do.
_TITLES: dict[str, tuple[type[DiffAtlasError], str]] = {
    "ZeroGPU quota exceeded": (
        GpuRefused,
        "sign in to Hugging Face for a larger quota, wait until it is free again, or choose fewer steps",
    ),
    "ZeroGPU pending credits exceeded": (GpuRefused, "wait until your other runs have ended"),
    "ZeroGPU illegal duration": (GpuRefused, "choose a smaller size, fewer steps or fewer images"),
    "ZeroGPU queue timeout": (ProviderTimeout, "try again in a minute"),
}
_ABORTED = "GPU task aborted"
#: The same by what the sentence says, of those that share a title.
_SENTENCES: dict[str, tuple[type[DiffAtlasError], str]] = {
    _ABORTED: (
        Overrun,
        "the run outlasted the seconds that it had asked for, or the platform took the GPU back: what had arrived is "
        "kept; try again, or choose fewer steps",
    ),
    "No GPU was available": (ProviderTimeout, "try again in a minute"),
    "Expired ZeroGPU proxy token": (GpuRefused, "reload the page"),
}
_WORKER = "ZeroGPU worker error"


def as_said(error: BaseException) -> DiffAtlasError | None:
    """Return the typed error of what the platform has raised, with its own words; None for what is none of its errors.

    Of an error inside of the process with the GPU only the class is known here.
    """
    title, said = str(getattr(error, "title", "")), _plain(error)
    for words, (kind, what) in _SENTENCES.items():
        if said.startswith(words):
            return _typed(kind, said, what)
    if title in _TITLES:
        return _typed(_TITLES[title][0], said, _TITLES[title][1])
    if title == _WORKER:
        return BackendFailure(
            f"The process with the GPU failed with {said}: try again; the log of the Space says more."
        )
    if title.startswith("ZeroGPU"):
        return _typed(ProviderDown, said, "try again")
    if isinstance(error, RuntimeError) and said.startswith("ZeroGPU API"):
        return _typed(ProviderDown, said, "try again in a minute")
    if type(error).__module__.split(".")[0] in ("httpx", "httpcore"):
        return NetworkError(
            f"ZeroGPU cannot be reached from this Space ({type(error).__name__}): try again in a minute."
        )
    return None


def taken_back() -> DiffAtlasError:
    """Return the error of a GPU that was taken back, as the platform says it."""
    kind, what = _SENTENCES[_ABORTED]
    return _typed(kind, _ABORTED, what)


def _typed(kind: type[DiffAtlasError], said: str, what: str) -> DiffAtlasError:
    return kind(f"ZeroGPU says: {said.rstrip('. ')}. What to do: {what}.")


def _plain(error: BaseException) -> str:
    """Return the words of an error without marks of HTML: as text where it has both."""
    return " ".join(str(getattr(error, "message", "") or error).split())[:500]
