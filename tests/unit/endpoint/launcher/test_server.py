"""The socket and the manager's end of it, in one process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_builders import ENDPOINT, UEP
from tests.unit.endpoint.launcher.test_authority import Bench

from chamberlain_endpoint.launcher import protocol
from chamberlain_endpoint.launcher.client import (
    LauncherClient,
    LauncherRefusedError,
    LauncherUnreachableError,
)
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.server import Server
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.errors import ErrorCode


class Service:
    """A server on the fake runtime, in a thread."""

    def __init__(self, folder: Path, peer_uids: frozenset[int]) -> None:
        self.path = folder / "launcher.sock"
        self.folder = folder
        self.peer_uids = peer_uids
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def call(self, callback: object) -> None:
        """Have `callback` called in the server's thread."""
        self.calls.append(callback)
        os.write(self.told, b".")

    def start(self) -> None:
        self.calls: list[object] = []
        self.heard, self.told = os.pipe()
        self.thread.start()
        assert self.ready.wait(10)

    def stop(self) -> None:
        self.call(self.loop.stop)
        self.thread.join(10)
        os.close(self.heard)
        os.close(self.told)

    def _run(self) -> None:
        # Everything here belongs to this thread, SQLite's connection among it.
        self.bench = Bench(self.folder, PolicySettings())
        self.loop = Loop()
        server = Server(self.loop, self.path, self.bench.authority, self.peer_uids, -1)
        server.open()
        self.loop.on_readable(self.heard, self._take_call)
        self.ready.set()
        self.loop.run()
        server.close()
        self.loop.close()
        self.bench.close()

    def _take_call(self) -> None:
        os.read(self.heard, 1)
        callback = self.calls.pop(0)
        assert callable(callback)
        callback()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path, frozenset({os.geteuid()}))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def client(service: Service) -> LauncherClient:
    return LauncherClient(service.path)


def launch_of(service: Service) -> protocol.Launch:
    return protocol.Launch(service.bench.hub.token(), UEP, "{}", "{}", {})


def test_every_request_gets_its_answer(service: Service, client: LauncherClient) -> None:
    assert client.hello().endpoint == ENDPOINT
    token = service.bench.hub.token()
    assert client.admit(token.encode()).account.uname == "alice"
    assert client.launch(launch_of(service)).already is False
    (running,) = client.list().running
    assert running.user_endpoint == UEP
    service.call(lambda: service.bench.runtime.end(UEP))
    client.stop(UEP, grace_s=1.0, why="test")
    assert [ended.user_endpoint for ended in client.list().ended] == [UEP]


def test_a_refusal_arrives_with_its_word_and_both_sentences(client: LauncherClient) -> None:
    with pytest.raises(LauncherRefusedError, match="has no signature") as caught:
        client.admit(b"nonsense")
    assert caught.value.word is ErrorCode.COMMAND_REFUSED
    assert caught.value.public == "The request could not be verified by the endpoint."


def test_a_watcher_hears_of_ends_until_it_is_closed(
    service: Service, client: LauncherClient
) -> None:
    ready, seen = threading.Event(), threading.Event()
    watcher = threading.Thread(target=client.watch, args=(lambda _: seen.set(), ready.set))
    watcher.start()
    assert ready.wait(10)
    LauncherClient(service.path).launch(launch_of(service))
    service.call(lambda: service.bench.runtime.end(UEP))
    assert seen.wait(10)
    client.close()
    watcher.join(10)
    assert not watcher.is_alive()


def test_a_watcher_is_told_when_the_launcher_goes_away(
    service: Service, client: LauncherClient
) -> None:
    ready = threading.Event()
    errors: list[Exception] = []

    def watch() -> None:
        try:
            client.watch(lambda _: None, ready.set)
        except LauncherUnreachableError as error:
            errors.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert ready.wait(10)
    service.call(service.loop.stop)
    watcher.join(10)
    assert len(errors) == 1


def test_nobody_there_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(LauncherUnreachableError):
        LauncherClient(tmp_path / "nobody").hello()


def test_a_request_above_the_limit_is_refused_before_it_is_sent(client: LauncherClient) -> None:
    with pytest.raises(protocol.FrameRefusedError, match="limit"):
        client.launch(protocol.Launch("t", UEP, "x" * 600_000, "{}", {}))


def test_requests_in_one_stream_are_each_answered(service: Service) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(service.path))
        documents = [protocol.request_document(n, protocol.Hello()) for n in range(20)]
        connection.sendall(b"".join(map(protocol.frame, documents)))
        reader, numbers = protocol.FrameReader(), []
        while len(numbers) < 20:
            numbers += [answer["id"] for answer in reader.feed(connection.recv(65536))]
    assert numbers == list(range(20))


def test_a_request_of_an_odd_shape_is_refused_and_the_next_one_answered(service: Service) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(service.path))
        for document in ({"id": 1, "kind": "format-disk"}, {"id": 2, "kind": "hello"}):
            connection.sendall(protocol.frame(document))
        reader, answers = protocol.FrameReader(), []
        while len(answers) < 2:
            answers += reader.feed(connection.recv(65536))
    assert [(answer["id"], answer["ok"]) for answer in answers] == [(1, False), (2, True)]
    assert answers[0]["code"] == "INVALID_MESSAGE"


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(
    service: Service, client: LauncherClient
) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(service.path))
    connection.sendall(protocol.frame(protocol.request_document(1, protocol.Hello()))[:7])
    assert client.hello().endpoint == ENDPOINT
    connection.close()
    assert client.hello().endpoint == ENDPOINT


def test_a_stranger_is_hung_up_on(tmp_path: Path) -> None:
    service = Service(tmp_path, frozenset({os.geteuid() + 1}))
    service.start()
    with pytest.raises(LauncherUnreachableError):
        LauncherClient(service.path).hello()
    service.stop()


def test_a_socket_left_by_a_dead_launcher_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "launcher.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    service = Service(tmp_path, frozenset({os.geteuid()}))
    service.start()
    assert LauncherClient(path).hello().endpoint == ENDPOINT
    assert path.stat().st_mode & 0o777 == 0o600
    service.stop()
    assert not path.exists()
