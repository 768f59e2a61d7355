"""The only place that speaks to a container engine, through the `docker` SDK.

Runs in the clerk (see `clerk`), a process of its own: the SDK brings an HTTP client with it,
which the launcher itself must not load. Podman is spoken to in its own words where Docker's
cannot say what is meant (explicit id maps, an unpacked image); Docker Engine in Docker's.
Every method may block.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors
import requests.exceptions

from chamberlain_endpoint.launcher.runtime import faults
from chamberlain_endpoint.launcher.runtime.container_plan import LABEL
from chamberlain_endpoint.launcher.settings import EngineKind

_LIBPOD: Final = "/v5.0.0/libpod"
_TIMEOUT_S: Final = 60
_GONE: Final = frozenset({304, 404, 409})


class DockerEngine:
    """One engine behind one Unix socket. Thread-safe: the SDK keeps a pool of connections."""

    def __init__(self, kind: EngineKind, path: Path) -> None:
        self._kind = kind
        self._path = path
        self._client: docker.APIClient | None = None

    def version(self) -> str:
        """Return the engine's name and version.

        Raises:
            EngineError: it does not answer.
        """
        with self._translated():
            told = self._api().version()
        return f"{self._kind} {told.get('Version', '?')}"

    def create(self, name: str, document: dict[str, Any]) -> str:
        """Make a container; return its id.

        Raises:
            EngineError: the engine would not.
        """
        if self._kind is EngineKind.PODMAN:
            answer = self._post(f"{_LIBPOD}/containers/create", document)
            return str(json.loads(answer)["Id"])
        api = self._api()
        with self._translated():
            return str(api.create_container_from_config(document, name)["Id"])  # type: ignore[no-untyped-call]

    def attach(self, container: str) -> int:
        """Return a descriptor, now the caller's own, of both ways of the container's streams.

        What is written goes to standard input; what is read are the engine's frames of both
        outputs.
        """
        with self._translated():
            stream = self._api().attach_socket(
                container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            # The SDK hands out a file object over the socket, and closes the socket with it.
            try:
                return os.dup(stream.fileno())
            finally:
                stream.close()

    def start(self, container: str) -> int:
        """Start it; return the process id of its first process as the host sees it."""
        with self._translated():
            if self._kind is EngineKind.PODMAN:
                self._post(f"{_LIBPOD}/containers/{container}/start", None)
            else:
                self._api().start(container)
            return int(self._api().inspect_container(container)["State"]["Pid"])

    def look(self, container: str) -> dict[str, Any] | None:
        """Return `running`, `pid`, `exit_code`, `oom` and `error`; None: there is none."""
        with self._translated():
            try:
                state = self._api().inspect_container(container)["State"]
            except docker.errors.NotFound:
                return None
        return {
            "running": bool(state.get("Running")),
            "pid": int(state.get("Pid") or 0),
            "exit_code": int(state.get("ExitCode") or 0),
            "oom": bool(state.get("OOMKilled")),
            "error": str(state.get("Error") or ""),
        }

    def wait(self, container: str) -> None:
        """Return when it has ended; at once when there is none."""
        with self._translated(), contextlib.suppress(docker.errors.NotFound):
            self._api().wait(container, timeout=_TIMEOUT_S)

    def signal(self, container: str, number: int) -> None:
        """Send it a signal. One that has ended is no error."""
        with self._translated():
            try:
                self._api().kill(container, number)
            except docker.errors.APIError as error:
                if error.status_code not in _GONE:
                    raise

    def remove(self, container: str) -> None:
        """Kill it if it runs, and remove it. One that is not there is no error."""
        with self._translated():
            try:
                self._api().remove_container(container, force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code not in _GONE:
                    raise

    def list(self, endpoint: str) -> list[dict[str, Any]]:
        """Return `container`, `labels` and `running` of each container of the endpoint."""
        with self._translated():
            found = self._api().containers(
                all=True, filters={"label": f"{LABEL}endpoint={endpoint}"}
            )
        return [
            {
                "container": each["Id"],
                "labels": each.get("Labels") or {},
                "running": each.get("State") == "running",
            }
            for each in found
        ]

    def _api(self) -> docker.APIClient:
        if self._client is None:
            # Docker drops old versions of its interface one after the other: it is asked.
            version = "1.41" if self._kind is EngineKind.PODMAN else "auto"
            self._client = docker.APIClient(
                base_url=f"unix://{self._path}", version=version, timeout=_TIMEOUT_S
            )
        return self._client

    def _post(self, path: str, document: dict[str, Any] | None) -> str:
        api = self._api()
        with self._translated():
            answer = api.post(
                api.base_url + path,
                data=None if document is None else json.dumps(document),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT_S,
            )
            if answer.status_code >= 400:
                raise faults.of_text(answer.status_code, answer.text)
            return str(answer.text)

    @contextlib.contextmanager
    def _translated(self) -> Any:
        try:
            yield
        except docker.errors.NotFound as error:
            raise faults.of_text(404, str(error)) from error
        except docker.errors.APIError as error:
            raise faults.of_text(error.status_code or 500, str(error)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise faults.EngineDownError(f"{self._path}: {error}") from error
