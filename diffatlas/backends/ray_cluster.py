"""The connection to a Ray cluster: one that is there, or one of this machine alone that is started here.

A process has one connection, which the backends that it has open share. It is given up when the last of them is closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams, NetworkError

log = logging.getLogger("diffatlas")

#: Ray reads these when it is imported: it tells nobody that it is used.
_ALWAYS = {"RAY_USAGE_STATS_ENABLED": "0"}
#: Where it is started here it is reached over loopback alone, and its workers come behind no other process.
_STARTED_HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
#: Where it is elsewhere it does not end this process when the head of the cluster is gone for a minute.
_ELSEWHERE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "86400"}
#: Bytes of shared memory that answers wait in, where the cluster is started here.
_STORE_BYTES = 500_000_000
#: Seconds that the head of a cluster may take to answer.
_KNOCK_SECONDS = 10.0
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")

_lock = threading.Lock()
_users = 0
#: Whether the connection was made here, and not by the program that uses Diffusion Atlas.
_ours = False
#: What the connection was opened to, None for this machine; and the folder of a cluster that was started here.
_address: str | None = None
_folder: str | None = None
#: Whoever connects to a cluster of this process has to know it; made once, because Ray keeps it.
_token = secrets.token_hex(32)


def join(address: str | None, cpus: int) -> None:
    """Connect to the cluster at ``address``, or start one on this machine, where there is no connection yet.

    cpus: what a cluster that is started here says that it has.

    Raises `CapabilityError` where Ray is not installed or is another version, `InvalidParams` for an address that is
    none and where the process is connected to another cluster, `NetworkError` where nothing answers.
    """
    global _users, _address
    spec = find_spec("ray")
    # A folder that is called so, such as the one where Ray keeps its logs, is no package.
    if spec is None or spec.origin is None:
        raise CapabilityError('The backend "ray" needs Ray: pip install "diffatlas[ray]".', field="backend")
    with _lock:
        if _users and address != _address:
            here = "a cluster of its own" if _address is None else f"the Ray cluster {_address}"
            raise InvalidParams(
                f"This process uses {here}, and one cluster at a time: close that backend first.",
                field="backend",
            )
        if not _users:
            _connect(address, cpus)
            _address = address
        _users += 1


def leave() -> None:
    """Say that a backend is closed; the last one ends the connection, and a cluster that was started here."""
    global _users, _folder
    import ray

    with _lock:
        _users -= 1
        if _users or not _ours:
            return
        with contextlib.suppress(Exception):
            ray.shutdown()
        if _folder is not None:
            shutil.rmtree(_folder, ignore_errors=True)
            _folder = None


def has(kind: str) -> float:
    """Return how much the cluster has of "GPU" or "CPU"."""
    import ray

    return float(ray.cluster_resources().get(kind, 0))


def _connect(address: str | None, cpus: int) -> None:
    global _ours, _folder
    os.environ |= _ALWAYS | (_STARTED_HERE if address is None else _ELSEWHERE)
    if address is None and not any(name.startswith("RAY_AUTH") for name in os.environ):
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token}
    import ray

    if ray.is_initialized():
        _ours = False
        return
    options: dict[str, Any] = {
        "configure_logging": False,
        "logging_level": logging.ERROR,
        "log_to_driver": False,
    }
    if address is None:
        _folder = tempfile.mkdtemp(prefix="atlas-ray-")
        options |= {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": _folder,
        }
    else:
        knock(address)
        options["address"] = address
    try:
        with _only_what_is_needed():
            _in_a_thread_that_stays(lambda: ray.init(**options))
    except Exception as error:
        if _folder is not None:
            shutil.rmtree(_folder, ignore_errors=True)
            _folder = None
        raise typed(error, address) from error
    _ours = True


def _in_a_thread_that_stays(start: Callable[[], object]) -> None:
    """Call ``start`` in a thread that lasts as long as this process: Linux ends what Ray starts with its thread.

    The main thread is one; those of a page end once they have nothing to do. Raises what ``start`` raises.
    """
    if threading.current_thread() is threading.main_thread():
        start()
        return
    started: Future[None] = Future()

    def work() -> None:
        try:
            start()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        threading.Event().wait()

    threading.Thread(target=work, name="diffatlas-ray", daemon=True).start()
    started.result()


@contextlib.contextmanager
def _only_what_is_needed() -> Iterator[None]:
    """Keep Ray, while it connects, from what no option of its own keeps it from.

    That is the process of its pages, which also without pages asks the network which cloud it runs in; and a thread
    that prints on standard output what happens to workers, which we say ourselves. Where another version of Ray has
    no functions of these names, it is left as it is.
    """
    from ray._private import services, worker

    before = [
        (module, name, getattr(module, name))
        for module, name in ((services, "start_api_server"), (worker, "listen_error_messages"))
        if hasattr(module, name)
    ]
    for module, name, _ in before:
        # The address of the pages, and their process.
        setattr(module, name, lambda *args, **options: ("", None))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def typed(error: Exception, address: str | None) -> Exception:
    """Return the typed error that one of `ray.init` amounts to."""
    log.debug("There is no connection to Ray.", exc_info=error)
    words = " ".join(str(error).split())
    if "ersion mismatch" in words and len(found := _VERSIONS.findall(words)) == 2:
        (there, its_python), (here, python) = found
        return CapabilityError(
            f"The cluster runs Ray {there} on Python {its_python}, and here is Ray {here} on Python {python}: install "
            "the same versions at both ends.",
            field="backend",
        )
    if address is None:
        return BackendFailure(f"Ray could not be started on this machine ({words[:200].rstrip('.')}).")
    return _silent(address, words)


def knock(address: str) -> None:
    """Raise `NetworkError` where nothing listens at host:port, which Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _silent(address, str(error)) from error


def _silent(address: str, words: str) -> NetworkError:
    return NetworkError(
        f"No Ray cluster answers at {address!r:.80}: start one there with `ray start --head`, and run Diffusion Atlas "
        "on a machine of it.",
        field="backend",
        said=words[:300],
    )
