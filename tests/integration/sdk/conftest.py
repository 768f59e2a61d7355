from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sdk.command_line import Shell
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub

from chamberlain import Client, Executor
from devtools.rabbit import PrivateRabbit


@pytest.fixture
def hub(rabbit: PrivateRabbit) -> Iterator[StandInHub]:
    one = StandInHub(rabbit)
    yield one
    one.close()


@pytest.fixture
def shell(hub: StandInHub, tmp_path: Path) -> Shell:
    return Shell(hub, tmp_path)


@pytest.fixture
def client(hub: StandInHub) -> Client:
    return Client(hub.url, TOKEN, patience_s=15.0)


@pytest.fixture
def executor(client: Client) -> Iterator[Executor]:
    one = Executor(ENDPOINT, client)
    yield one
    one.shutdown(cancel_futures=True)
