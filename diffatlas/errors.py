"""The typed errors. Each carries one sentence: what is wrong, and what to do about it.

The shell prints the message on one line and exits with code 2; the app shows it at the field it names.
"""

from __future__ import annotations


class DiffAtlasError(Exception):
    """Base of every error that a user can cause or cure. ``str(error)`` is one clear sentence."""

    code = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        #: The name of the ``GenerationParams`` field that is at fault, where one is.
        self.field = field


class InvalidParams(DiffAtlasError, ValueError):
    """A parameter is out of range, empty, or does not fit the model."""

    code = "invalid_params"


class SchedulerMismatch(InvalidParams):
    """The scheduler is unknown, or does not fit what the model predicts."""

    code = "scheduler_mismatch"


class UnknownModel(DiffAtlasError):
    """No registry entry and no pipeline folder has this name."""

    code = "unknown_model"


class ModelLoadError(DiffAtlasError):
    """The model is known but could not be loaded (missing files, no network, no permission)."""

    code = "model_load"


class CapabilityError(DiffAtlasError):
    """The backend or pipeline cannot do what was asked. A finding, not a crash."""

    code = "capability"


class NotEnoughMemory(DiffAtlasError):
    """Loading the model is expected to need more memory than is free (sizes in bytes)."""

    code = "not_enough_memory"

    def __init__(self, message: str, *, needed: int, free: int) -> None:
        super().__init__(message, field="model")
        self.needed = needed
        self.free = free


class OverBound(DiffAtlasError):
    """A request is expected to take longer, or more memory, than the bounds of this installation."""

    code = "over_bound"


class PaidImages(OverBound):
    """A request would cost so much that it is to be confirmed, by whoever asks for it."""

    code = "paid_images"

    def __init__(self, message: str, *, field: str | None = None, asked: str = "") -> None:
        super().__init__(message, field=field)
        #: What is asked for and about what it costs, in words.
        self.asked = asked


class Overrun(DiffAtlasError):
    """A run took far longer than was expected, and was ended."""

    code = "overrun"


class TooMuch(DiffAtlasError):
    """A visitor has as much under way, or keeps as much, as one visitor of a shared server may."""

    code = "too_much"


class OutOfMemory(DiffAtlasError):
    """The device ran out of memory while the model was loading or running."""

    code = "out_of_memory"


class NonFiniteLatents(DiffAtlasError):
    """NaN or infinity appeared in the latents."""

    code = "non_finite"


class BlackImage(DiffAtlasError):
    """The final image is black everywhere."""

    code = "black_image"


class RunNotFound(DiffAtlasError):
    """The library has no run of this id."""

    code = "run_not_found"


class DamagedRun(DiffAtlasError):
    """A stored run cannot be read."""

    code = "damaged_run"


class NewerVersion(DamagedRun):
    """A run, a study, a lab or what a person said of one was written by a later version of Diffusion Atlas."""

    code = "newer_version"


class Unreadable(DiffAtlasError, ValueError):
    """A file cannot be read as what it should be. ``reason`` says why, to go on a sentence about the file."""

    code = "unreadable"

    def __init__(self, message: str, *, field: str | None = None, reason: str = "") -> None:
        super().__init__(message, field=field)
        self.reason = reason or message.rstrip(".")


class HostedError(DiffAtlasError):
    """A provider of hosted models refused or failed. ``said`` holds its own words, as far as it gave any."""

    code = "provider_error"

    def __init__(self, message: str, *, field: str | None = None, said: str = "") -> None:
        super().__init__(message, field=field)
        self.said = said


class KeyRefused(HostedError):
    """There is no key for a provider, or the provider does not take it."""

    code = "auth"


class PaymentRequired(HostedError):
    """The account has no credit; the message names the provider's billing page."""

    code = "payment_required"


class RateLimited(HostedError):
    """A provider asks to wait, and went on asking. ``seconds`` is the last wait that it named, where it named one."""

    code = "rate_limited"

    def __init__(
        self, message: str, *, field: str | None = None, said: str = "", seconds: float | None = None
    ) -> None:
        super().__init__(message, field=field, said=said)
        self.seconds = seconds


class ContentRefused(HostedError):
    """A provider refuses the prompt, or withholds the image, for what it shows."""

    code = "content_refused"


class ProviderTimeout(HostedError):
    """A provider gave no answer, or no image, in time."""

    code = "timeout"


class NetworkError(HostedError):
    """A provider cannot be reached, or the connection broke."""

    code = "network"


class ProviderDown(HostedError):
    """A provider has a fault of its own (5xx) and did not recover while it was asked again."""

    code = "provider_down"


class NotDeployed(HostedError):
    """The app that runs are sent to is not there."""

    code = "not_deployed"


class GpuRefused(HostedError):
    """A platform that lends GPUs lends none for this: the quota is used up, or the run is longer than it allows."""

    code = "gpu_refused"


class BadDownload(HostedError):
    """What a provider delivered is no whole image, is too large, or lies where nothing is fetched from."""

    code = "bad_download"

    def __init__(
        self, message: str, *, field: str | None = None, said: str = "", passing: bool = False
    ) -> None:
        super().__init__(message, field=field, said=said)
        #: Whether it may be gone when the same address is asked again.
        self.passing = passing


class OverBudget(DiffAtlasError):
    """More images of a hosted model were asked for than may be made, or paid for, here."""

    code = "over_budget"


class WorkerLost(DiffAtlasError):
    """A worker ended while it made a run, and no other one could take the run over."""

    code = "worker_lost"


class BackendFailure(DiffAtlasError):
    """Something failed inside a backend that no other error describes."""

    code = "backend_failure"


def error_for(code: str, message: str) -> DiffAtlasError:
    """Return the typed error that a stored or transmitted ``code`` stands for."""
    if code == NotEnoughMemory.code:
        return NotEnoughMemory(message, needed=0, free=0)
    return _BY_CODE.get(code, BackendFailure)(message)


def _all_errors(root: type[DiffAtlasError]) -> list[type[DiffAtlasError]]:
    return [root] + [e for sub in root.__subclasses__() for e in _all_errors(sub)]


_BY_CODE = {error.code: error for error in _all_errors(DiffAtlasError)}
