"""A stand-in for Modal's servers: the real client of the package `modal` talks to it over gRPC.

It keeps queues with the real limits, hands calls to containers, cancels them, and lets containers die. What a
container runs are the classes of `modal_deploy.py` through ``.local()``; arguments, results and errors cross in the
package's own serialisation.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._serialization import deserialize, serialize
from modal.exception import InputCancellation
from modal_proto import api_pb2 as api
from modal_proto.api_grpc import ModalClientBase

#: The limits that Modal's documentation of `modal.Queue` names: bytes of an item, items and bytes of a partition.
ITEM_BYTES, ITEMS, PARTITION_BYTES = 2**20, 5000, 64 * 2**20
_LOOK = 0.003
_DONE = api.GenericResult
APP = "diffatlas"


class Killed(BaseException):
    """A container that is no more."""


@dataclass
class Call:
    """One call of a method of a deployed class."""

    id: str
    function: str
    method: str
    args: bytes
    result: Any = None
    started: bool = False
    cancelled: bool = False
    #: Whether its container was ended with it.
    terminated: bool = False
    #: What ends it in the container that it runs in.
    cancel: Callable[[], None] = lambda: None


@dataclass
class Partition:
    """A partition of a queue."""

    items: deque[bytes] = field(default_factory=deque)
    expires: float = 0.0
    #: The most that it ever held, and how often it was full.
    most: int = 0
    refused: int = 0


def run_method(thing: Any, method: str, args: bytes) -> tuple[int, bytes, str]:
    """Run a method as a container does; return the status, the bytes of its value or error, and the error's text."""
    try:
        given, named = deserialize(args, None)
        return _DONE.GENERIC_STATUS_SUCCESS, serialize(getattr(thing, method).local(*given, **named)), ""
    except InputCancellation:
        return _DONE.GENERIC_STATUS_TERMINATED, b"", ""
    except Killed:
        raise
    except BaseException as error:
        return _DONE.GENERIC_STATUS_FAILURE, serialize(error), repr(error)


class ThreadContainer:
    """A container on a thread of this process."""

    def __init__(self, fake: FakeModal, function: str, thing: Any) -> None:
        self.fake, self.function, self.thing = fake, function, thing
        self.ran: list[Call] = []
        #: Whether it takes no call.
        self.rests = False
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while not self.fake.closed:
            call = None if self.rests else self.fake.take(self.function)
            if call is None:
                time.sleep(_LOOK)
                continue
            self.ran.append(call)
            ident = threading.get_ident()
            call.cancel = lambda ident=ident: _raise_in(ident, InputCancellation)
            try:
                status, data, words = run_method(self.thing, call.method, call.args)
            except Killed:
                self.fake.died(call)
                continue
            call.cancel = lambda: None
            self.fake.end(call, status, data, words)


class ProcessContainer:
    """A container in a process of its own: cancelled by SIGUSR1 as the real one, and it can be killed."""

    def __init__(self, fake: FakeModal, function: str) -> None:
        self.fake, self.function = fake, function
        #: Whether it takes no call; so it begins.
        self.rests = True
        command = [sys.executable, "-m", "tests.backends.on_modal.fake_modal", function]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        while not self.fake.closed and self.process.poll() is None:
            call = None if self.rests else self.fake.take(self.function)
            if call is None:
                time.sleep(_LOOK)
                continue
            call.cancel = lambda: os.kill(self.process.pid, signal.SIGUSR1)
            self.process.stdin.write(
                json.dumps({"method": call.method, "args": base64.b64encode(call.args).decode()}) + "\n"
            )
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                self.fake.died(call)
                return
            told = json.loads(line)
            self.fake.end(call, told["status"], base64.b64decode(told["data"]), told["words"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


class FakeModal:
    """The servers. ``deployed``: which classes there are, of one app."""

    def __init__(self, deployed: tuple[str, ...] = ("Gpu", "Facts")) -> None:
        self.deployed = deployed
        self.closed = False
        self.lock = threading.RLock()
        self.calls: dict[str, Call] = {}
        self.waiting: dict[str, deque[Call]] = defaultdict(deque)
        self.partitions: dict[tuple[str, bytes], Partition] = defaultdict(Partition)
        self.items_most = ITEMS
        #: Whether a call whose container died is handed to another, as Modal does when it takes a machine back.
        self.hands_on = False
        #: What the next call is refused with, and how many looks into a queue find nobody there.
        self.refuses: GRPCError | None = None
        self.unreachable = 0
        #: Kinds of GPU that were asked for in place of the app's own.
        self.gpus: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    async def _serve(self) -> str:
        self._server = Server([_service(self)])
        await self._server.start("127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server._server.sockets[0].getsockname()[1]}"

    @property
    def last(self) -> Call:
        """The last call."""
        return list(self.calls.values())[-1]

    def close(self) -> None:
        """Stop serving."""
        self.closed = True

        async def stop() -> None:
            self._server.close()
            await self._server.wait_closed()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def take(self, function: str) -> Call | None:
        """Return a call that waits for a container."""
        with self.lock:
            if not self.waiting[function]:
                return None
            call = self.waiting[function].popleft()
            call.started = True
            return call

    def end(self, call: Call, status: int, data: bytes = b"", words: str = "") -> None:
        """Keep how a call ended."""
        with self.lock:
            call.result = call.result or api.GenericResult(status=status, data=data, exception=words)

    def died(self, call: Call) -> None:
        """Take note that the container of a call is gone."""
        with self.lock:
            if self.hands_on:
                call.started = False
                self.waiting[call.function].append(call)
            else:
                self.end(call, _DONE.GENERIC_STATUS_INTERNAL_FAILURE, words="The container died.")

    def partition(self, queue: str, key: bytes) -> Partition:
        """Return a partition, empty where its time is over."""
        found = self.partitions[queue, key]
        if found.items and found.expires < time.time():
            found.items.clear()
        return found

    # What the client asks, by the name of its remote procedure.

    async def ClientHello(self, asked: Any) -> Any:
        return api.ClientHelloResponse()

    async def AuthTokenGet(self, asked: Any) -> Any:
        return api.AuthTokenGetResponse(token="a.e30.c")

    async def ClassGet(self, asked: Any) -> Any:
        self._refuse()
        if asked.app_name != APP or asked.object_tag not in self.deployed:
            raise GRPCError(Status.NOT_FOUND, f"App {asked.app_name!r} not found")
        return api.ClassGetResponse(
            class_id=f"cs-{asked.object_tag}", handle_metadata=api.ClassHandleMetadata()
        )

    async def FunctionGet(self, asked: Any) -> Any:
        name = asked.object_tag.removesuffix(".*")
        if asked.app_name != APP or name not in self.deployed:
            raise GRPCError(Status.NOT_FOUND, f"App {asked.app_name!r} not found")
        return api.FunctionGetResponse(
            function_id=f"fu-{name}",
            function=api.FunctionData(ranked_functions=[api.FunctionData.RankedFunction()]),
            handle_metadata=_handle(name),
        )

    async def FunctionBindParams(self, asked: Any) -> Any:
        self.gpus.append(asked.function_options.resources.gpu_config.gpu_type)
        name = asked.function_id[3:]
        return api.FunctionBindParamsResponse(
            bound_function_id=asked.function_id, handle_metadata=_handle(name)
        )

    async def FunctionMap(self, asked: Any) -> Any:
        self._refuse()
        with self.lock:
            item = asked.pipelined_inputs[0].input
            call = Call(f"fc-{len(self.calls)}", asked.function_id[3:], item.method_name, item.args)
            self.calls[call.id] = call
            self.waiting[call.function].append(call)
        told = api.FunctionPutInputsResponseItem(idx=0, input_id=f"in-{call.id}", input_jwt="jwt")
        return api.FunctionMapResponse(function_call_id=call.id, pipelined_inputs=[told])

    async def FunctionGetOutputs(self, asked: Any) -> Any:
        call, end = self.calls[asked.function_call_id], time.monotonic() + asked.timeout
        while call.result is None and time.monotonic() < end:
            await asyncio.sleep(_LOOK)
        outputs = []
        if call.result is not None:
            outputs = [
                api.FunctionGetOutputsItem(result=call.result, idx=0, data_format=api.DATA_FORMAT_PICKLE)
            ]
        return api.FunctionGetOutputsResponse(
            outputs=outputs, idxs=[0] * len(outputs), num_unfinished_inputs=1 - len(outputs)
        )

    async def FunctionCallCancel(self, asked: Any) -> Any:
        with self.lock:
            call = self.calls[asked.function_call_id]
            call.cancelled, call.terminated = True, asked.terminate_containers
            if call in self.waiting[call.function]:
                self.waiting[call.function].remove(call)
                self.end(call, _DONE.GENERIC_STATUS_TERMINATED)
            elif call.result is None:
                call.cancel()

    async def QueueGetOrCreate(self, asked: Any) -> Any:
        name = asked.deployment_name
        return api.QueueGetOrCreateResponse(queue_id=f"qu-{name}", metadata=api.QueueMetadata(name=name))

    async def QueuePut(self, asked: Any) -> Any:
        with self.lock:
            there = self.partition(asked.queue_id, asked.partition_key)
            if any(len(value) > ITEM_BYTES for value in asked.values):
                raise GRPCError(Status.INVALID_ARGUMENT, "An item is larger than 1 MiB.")
            held = len(there.items) + len(asked.values)
            size = sum(map(len, (*there.items, *asked.values)))
            if held > self.items_most or size > PARTITION_BYTES:
                there.refused += 1
                raise GRPCError(Status.RESOURCE_EXHAUSTED, "The queue is full.")
            there.items.extend(asked.values)
            there.most = max(there.most, held)
            there.expires = time.time() + asked.partition_ttl_seconds

    async def QueueGet(self, asked: Any) -> Any:
        if self.unreachable and not asked.partition_key.endswith(b".stop"):
            self.unreachable -= 1
            raise GRPCError(Status.UNAVAILABLE, "Nobody is there.")
        end = time.monotonic() + asked.timeout
        while True:
            with self.lock:
                there = self.partition(asked.queue_id, asked.partition_key)
                if there.items:
                    count = min(asked.n_values, len(there.items))
                    return api.QueueGetResponse(values=[there.items.popleft() for _ in range(count)])
            if time.monotonic() >= end:
                return api.QueueGetResponse()
            await asyncio.sleep(_LOOK)

    async def QueueClear(self, asked: Any) -> Any:
        with self.lock:
            self.partition(asked.queue_id, asked.partition_key).items.clear()

    def _refuse(self) -> None:
        refused, self.refuses = self.refuses, None
        if refused is not None:
            raise refused


def _handle(name: str) -> Any:
    """Return what the client learns of a class and its methods."""
    kind = api.Function.FUNCTION_TYPE_FUNCTION
    methods = {
        method: api.FunctionHandleMetadata(
            function_name=f"{name}.{method}", function_type=kind, is_method=True, use_method_name=method
        )
        for method in ("run", "estimate", "facts", "models", "about")
    }
    return api.FunctionHandleMetadata(
        function_name=f"{name}.*", function_type=kind, method_handle_metadata=methods
    )


def _service(fake: FakeModal) -> Any:
    """Return the gRPC service that `fake` answers; what it has no answer for is UNIMPLEMENTED."""
    from google.protobuf.empty_pb2 import Empty

    def answer(name: str) -> Any:
        async def handle(self: Any, stream: Any) -> None:
            asked = await stream.recv_message()
            ask = getattr(fake, name, None)
            if ask is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"The stand-in has no {name}.")
            await stream.send_message(await ask(asked) or Empty())

        return handle

    names = ModalClientBase.__abstractmethods__
    return type("Service", (ModalClientBase,), {name: answer(name) for name in names})()


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an error in another thread, at its next line."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


@contextmanager
def cancelled_by_signal() -> Iterator[None]:
    """Raise `InputCancellation` in the main thread on SIGUSR1, as a real container does while a method runs."""

    def on_signal(number: int, frame: object) -> None:
        raise InputCancellation("Input was cancelled by user")

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def main(function: str) -> None:
    """Be a container: read calls from stdin, a line each, and write how each ended."""
    out = os.fdopen(os.dup(1), "w")
    # What libraries print goes elsewhere.
    os.dup2(2, 1)
    import modal_deploy
    from diffatlas import GenerationParams
    from diffatlas.backends import wire

    thing = getattr(modal_deploy, function)()
    # Loads libraries and model, before anybody waits for it.
    thing.estimate.local(wire.asked_to_bytes(wire.asked_of(GenerationParams(prompt="a red circle"), None)))
    for line in sys.stdin:
        asked = json.loads(line)
        with cancelled_by_signal():
            status, data, words = run_method(thing, asked["method"], base64.b64decode(asked["args"]))
        told = {"status": int(status), "data": base64.b64encode(data).decode(), "words": words}
        out.write(json.dumps(told) + "\n")
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
