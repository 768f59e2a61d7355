"""`Executor`: the standard library's interface to functions that run on an endpoint."""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

import msgspec

from chamberlain.batching import Call, Destination
from chamberlain.client import Client
from chamberlain.errors import InvalidRequestError
from chamberlain.functions import Function, registered
from chamberlain.futures import ChamberlainFuture, ask_logs_of
from chamberlain.link import HubLink
from chamberlain.outcomes import from_rest, settle
from chamberlain.resources import check_mpi, check_resources, strategy_names
from chamberlain.shell import MPIFunction
from chamberlain_wire.ids import new_id, parse_endpoint_id, parse_task_group_id
from chamberlain_wire.serialize import Serializer, pack_payload

T = TypeVar("T")
_live: weakref.WeakSet[Executor] = weakref.WeakSet()


class Executor(concurrent.futures.Executor):
    """Runs functions on one endpoint, as whichever local account it maps you to.

        with Executor(endpoint_id) as executor:
            print(executor.submit(sum, [1, 2, 3]).result())

    Functions and arguments are packed when they are submitted; later changes do not matter.
    Your own modules travel along; installed packages must be installed on the endpoint.
    In a forked child the executor goes on with a task group of its own, and knows nothing of
    the parent's open futures.

    Args:
        endpoint_id: UUID of the endpoint; `chamberlain endpoints` lists them.
        client: how to reach the hub; by default as the environment and configuration say.
        task_group_id: UUID that binds tasks together, for `reload_tasks`. One process at a
            time may use it. A new one by default.
        resource_specification: what each task needs: `num_nodes`, `ranks_per_node`,
            `num_ranks` and `launcher_options` for MPI, `priority` for Parsl.
        user_endpoint_config: options for the endpoint's configuration template. Different
            options mean different user endpoints.
        label: shown in `repr`.
        batch_size: most tasks in one request. There is no delay to gather them.
        serializer: see `chamberlain.serializer`; its `allowed` is what results may come by.
        result_serializers: names of strategies that the worker shall try for results.

    Raises:
        InvalidRequestError: options or resources that no endpoint would take.
        SerializationError: an unknown name in `result_serializers`.
    """

    def __init__(  # noqa: PLR0913 - the arguments that users of the public clients know
        self,
        endpoint_id: str | uuid.UUID | None = None,
        client: Client | None = None,
        *,
        task_group_id: str | uuid.UUID | None = None,
        resource_specification: Mapping[str, Any] | None = None,
        user_endpoint_config: Mapping[str, Any] | None = None,
        label: str = "",
        batch_size: int = 128,
        serializer: Serializer | None = None,
        result_serializers: Sequence[str] = (),
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self.client = client or Client()
        self.label = label
        self.batch_size = batch_size
        self.endpoint_id = endpoint_id
        self.task_group_id = task_group_id or new_id()
        self.user_endpoint_config = user_endpoint_config
        self.resource_specification = resource_specification
        self._serializer = serializer or self.client.serializer
        self.result_serializers = result_serializers
        self._lock = threading.Lock()
        self._shut = False
        self._detached = False
        self._link: HubLink | None = None
        self._destination: Destination | None = None
        self._submitted = 0
        _live.add(self)

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"<Executor{label} endpoint={self._endpoint_id} task_group={self._task_group_id}>"

    @property
    def endpoint_id(self) -> str | None:
        """Where the next tasks go."""
        return self._endpoint_id

    @endpoint_id.setter
    def endpoint_id(self, value: str | uuid.UUID | None) -> None:
        self._endpoint_id = None if value is None else parse_endpoint_id(str(value))
        self._destination = None

    @property
    def task_group_id(self) -> str:
        """The task group of the next tasks."""
        return self._task_group_id

    @task_group_id.setter
    def task_group_id(self, value: str | uuid.UUID) -> None:
        self._task_group_id = parse_task_group_id(str(value))
        self._destination = None

    @property
    def user_endpoint_config(self) -> Mapping[str, Any] | None:
        """Options for the next tasks. Assign a new mapping to change them."""
        return self._options

    @user_endpoint_config.setter
    def user_endpoint_config(self, value: Mapping[str, Any] | None) -> None:
        self._options_json = _canonical("user_endpoint_config", value)
        self._options = value
        self._destination = None

    @property
    def resource_specification(self) -> Mapping[str, Any] | None:
        """What each of the next tasks needs. Assign a new mapping to change it."""
        return self._resources

    @resource_specification.setter
    def resource_specification(self, value: Mapping[str, Any] | None) -> None:
        check_resources(value)
        self._resources_json = _canonical("resource_specification", value)
        self._resources = value
        self._destination = None

    @property
    def result_serializers(self) -> Sequence[str]:
        """Strategies that the worker tries for the results of the next tasks, in this order."""
        return self._result_serializers

    @result_serializers.setter
    def result_serializers(self, value: Sequence[str]) -> None:
        self._result_serializers = strategy_names(value)
        self._destination = None

    @property
    def task_count_submitted(self) -> int:
        """How many tasks were submitted so far."""
        return self._submitted

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ChamberlainFuture:
        """Run `fn(*args, **kwargs)` on the endpoint.

        Raises:
            SerializationError: function or arguments cannot travel; the text says which.
            InvalidRequestError: an `MPIFunction`, and nothing says how many ranks it has.
            RuntimeError: the executor was shut down.

        The future raises what the function raised, caused by `TaskExecutionFailed` with the
        remote traceback; or why the task did not run: see `chamberlain.errors`.
        """
        if isinstance(fn, MPIFunction):
            check_mpi(self._resources)
        link = self._open_link()
        return self._send(link, link.functions.packed(fn), args, kwargs)

    def submit_to_registered_function(
        self,
        function_id: str | uuid.UUID,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> ChamberlainFuture:
        """Run a function that the hub knows; see `submit`."""
        return self._send(self._open_link(), registered(function_id), args, kwargs or {})

    def register_function(self, fn: Callable[..., Any], **details: Any) -> str:
        """Register `fn` at the hub and return its id; see `Client.register_function`."""
        return self.client.register_function(fn, serializer=self._serializer, **details)

    def register_source_code(self, source: str, function_name: str, **details: Any) -> str:
        """Register a function given as text; see `Client.register_source_code`."""
        return self.client.register_source_code(source, function_name, **details)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Return the results of `fn` over `iterables`, in their order.

        Args:
            timeout: seconds from this call on; then the iterator raises `TimeoutError`.
            chunksize: so many calls make one task. Large numbers suit small functions.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize}; it must be 1 or more")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        return chain.from_iterable(super().map(_for_chunks(fn), chunks, timeout=timeout))

    def reload_tasks(self, task_group_id: str | uuid.UUID | None = None) -> list[ChamberlainFuture]:
        """Return futures for the tasks of a task group that were submitted earlier.

        Tasks that ended have results at once. Only one process at a time may follow a group.

        Raises:
            NotFoundError: there is no such group, or it is somebody else's.
        """
        if task_group_id is not None:
            self.task_group_id = task_group_id
        link = self._open_link()
        group = self._task_group_id
        listed = self.client.rest.get(f"/v2/taskgroup/{group}")["tasks"]
        known = {future.task_id for future in link.open_tasks.futures()}
        futures = [ChamberlainFuture(one["id"]) for one in listed if one["id"] not in known]
        for future in futures:
            ask_logs_of(future, self.client.get_task_logs)
        link.follow(group, futures)
        documents = self.client.task_documents([future.task_id for future in futures])
        for future in futures:
            result = from_rest(documents.get(future.task_id, {}))
            if result is not None:
                settle(future, result, self._serializer)
        return futures

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks.

        Args:
            wait: return when every future has ended.
            cancel_futures: cancel what has not ended, also what was sent: at the hub, in the
                queue and where it runs.
        """
        with self._lock:
            self._shut = True
            link = self._link
        self._detached = not (wait or cancel_futures)
        if link is None or link.pid != os.getpid():
            return
        if cancel_futures:
            link.cancel_all()
        if wait:
            link.finish()
        else:
            link.finish_later()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Who interrupts the program does not want the rest of it to be computed.
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.shutdown(wait=not interrupted, cancel_futures=interrupted)

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import asyncio

        left = kind is not None and issubclass(kind, KeyboardInterrupt | asyncio.CancelledError)
        # Waiting blocks; other coroutines shall run meanwhile.
        await asyncio.to_thread(self.shutdown, wait=not left, cancel_futures=left)

    def _send(
        self, link: HubLink, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> ChamberlainFuture:
        payload = msgspec.Raw(msgspec.json.encode(pack_payload(args, kwargs, self._serializer)))
        to = self._to()
        future = ChamberlainFuture(new_id(), to.endpoint_id)
        ask_logs_of(future, self.client.get_task_logs)
        link.send(to, Call(future, function, payload))
        self._submitted += 1
        return future

    def _to(self) -> Destination:
        destination = self._destination
        if destination is None:
            if self._endpoint_id is None:
                raise ValueError(
                    "no endpoint: set endpoint_id, as `chamberlain endpoints` lists it"
                )
            destination = self._destination = Destination(
                self._endpoint_id,
                self._task_group_id,
                self._options_json,
                self._resources_json,
                self._result_serializers,
            )
        return destination

    def _open_link(self) -> HubLink:
        link = self._link
        if link is not None and link.pid == os.getpid() and not self._shut:
            return link
        if link is not None and link.pid != os.getpid():
            # The lock may have been held by a thread that does not exist in this child.
            self._lock = threading.Lock()
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            link = self._link
            if link is None or link.pid != os.getpid():
                if link is not None:
                    # Parent and child would take each other's results from one queue.
                    self.task_group_id = new_id()
                link = self._link = HubLink(
                    self.client.rest, self._serializer, batch_size=self.batch_size
                )
                weakref.finalize(self, link.finish_later).atexit = False
        return link


def _chunks(calls: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(calls, size)):
        yield chunk


def _for_chunks(fn: Callable[..., T]) -> Callable[[Sequence[Sequence[Any]]], list[T]]:
    def run_chunk(calls: Sequence[Sequence[Any]]) -> list[T]:
        return [fn(*args) for args in calls]

    # So that it travels by value: a worker need not have this package.
    run_chunk.__module__ = "__main__"
    return run_chunk


def _canonical(what: str, value: Mapping[str, Any] | None) -> str:
    try:
        return msgspec.json.encode(None if value is None else dict(value), order="sorted").decode()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            public=f"{what} must be plain JSON data (text, numbers, lists, dictionaries): {error}"
        ) from None


@atexit.register
def _flush_all() -> None:
    for executor in list(_live):
        link = executor._link
        if link is not None and link.pid == os.getpid():
            if _interrupted() and not executor._detached:
                link.cancel_all()
            link.flush()


def _interrupted() -> bool:
    """Tell whether the program ends because of Ctrl-C."""
    # At a prompt, an interrupt that was shown long ago is remembered, too.
    return getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
