"""What goes wrong with Modal, as typed errors of one sentence with what to do.

Modal's exceptions are told by the names of their classes, so that this needs no package `modal`.
"""

from __future__ import annotations

from diffatlas.errors import (
    BackendFailure,
    CapabilityError,
    DiffAtlasError,
    KeyRefused,
    NetworkError,
    NotDeployed,
    PaymentRequired,
    ProviderDown,
    ProviderTimeout,
    RateLimited,
)

#: Words by which Modal tells that it is about money.
_MONEY = ("spend limit", "billing", "credit", "payment")
#: How Modal tells that the container of a call is gone. Another may do what is left.
_DIED = {"InternalFailure", "RemoteError"}
_AWAY = {"ConnectionError", "ServiceError", "ClientClosed", "OutputExpiredError", "RetryTimeoutError"}


def not_installed() -> CapabilityError:
    """Return the error where the package is missing."""
    return CapabilityError(
        'Modal needs a package that is not installed: pip install "diffatlas[modal]".', field="backend"
    )


def no_gpu(gpu: str, seconds: float) -> ProviderTimeout:
    """Return the error where no container began in time."""
    return ProviderTimeout(
        f"Modal had no {gpu} free in {seconds:g} s: try again later, deploy with another kind (DIFFATLAS_MODAL_GPU), "
        "or wait longer (DIFFATLAS_MODAL_WAIT)."
    )


def died(error: BaseException) -> bool:
    """Whether an error means that the container is gone, and another may do what is left."""
    names = _names(error)
    return bool(names & _DIED) and not _about_money(error)


def away(error: BaseException) -> bool:
    """Whether an error means that Modal was not reached, and may be asked again."""
    return bool(_names(error) & _AWAY) or (isinstance(error, OSError) and not isinstance(error, TimeoutError))


def typed(error: BaseException, app: str, timeout: float | None = None) -> DiffAtlasError:
    """Return the typed error that an exception of Modal's, or of the run there, amounts to.

    app: what the deployed app is called. timeout: seconds that it lets a run take.
    """
    if isinstance(error, DiffAtlasError):
        return error
    names, said = _names(error), str(error).strip()
    words = f" ({said})" if said and len(said) < 300 else ""
    if not names:
        if away(error):
            return _unreached(words, said)
        return BackendFailure(f"The run on Modal failed with {type(error).__name__}{words}.")
    if _about_money(error):
        return PaymentRequired(
            f"The Modal account has no credit left, or its spend limit is reached{words}: look at Usage and billing on "
            "modal.com/settings.",
            said=said,
        )
    if "AuthError" in names:
        return KeyRefused(
            "There is no token of Modal here, or Modal does not take it: run `modal token new`, or set MODAL_TOKEN_ID "
            "and MODAL_TOKEN_SECRET.",
            field="key",
            said=said,
        )
    if "PermissionDeniedError" in names:
        return KeyRefused(
            f"Modal does not let this account do that{words}: use a token of the workspace that "
            f"{app!r} is deployed in.",
            field="key",
            said=said,
        )
    if "NotFoundError" in names:
        return NotDeployed(
            f"There is no app {app!r} of yours on Modal: deploy it with `modal deploy modal_deploy.py`, or name "
            "another in DIFFATLAS_MODAL_APP.",
            field="backend",
            said=said,
        )
    if "FunctionTimeoutError" in names:
        most = "" if timeout is None else f" of {timeout:g} s"
        return ProviderTimeout(
            f"The run took longer than the app on Modal lets one take{most}: ask for fewer steps, or deploy it with a "
            "larger DIFFATLAS_MODAL_TIMEOUT.",
            said=said,
        )
    if names & {"DeserializationError", "SerializationError", "VersionError"} or (
        "ExecutionError" in names and "deserialize" in said.lower()
    ):
        return CapabilityError(
            f"What is deployed on Modal does not fit what is installed here{words}: install the same versions, and run "
            "`modal deploy modal_deploy.py` again."
        )
    if "ResourceExhaustedError" in names:
        return RateLimited(
            f"Modal has as much of this account under way as it allows{words}: wait, or ask for fewer containers "
            "(DIFFATLAS_MODAL_CONTAINERS).",
            said=said,
        )
    if away(error):
        return _unreached(words, said)
    if died(error):
        return ProviderDown(
            f"The container on Modal ended midway{words}; what had arrived is kept: run it again, and look at "
            f"`modal app logs {app}` where it happens twice.",
            said=said,
        )
    return ProviderDown(f"Modal failed{words}: try again later, status.modal.com says more.", said=said)


def _unreached(words: str, said: str) -> NetworkError:
    return NetworkError(
        f"Modal cannot be reached{words}: look at the connection; what had arrived is kept.", said=said
    )


def _names(error: BaseException) -> set[str]:
    """Return the names of an exception's classes that are Modal's."""
    return {one.__name__ for one in type(error).__mro__ if one.__module__.split(".")[0] == "modal"}


def _about_money(error: BaseException) -> bool:
    return bool(_names(error)) and any(word in str(error).lower() for word in _MONEY)
