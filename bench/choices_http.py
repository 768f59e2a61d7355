"""Frameworks, ASGI servers and HTTP clients on the submit route: half of `choices.py`.

The module is also the application that the servers load: each `*_app` is a factory. It does
not postpone annotations: FastAPI and Litestar must resolve types local to a factory. Every
server is a child of the caller on a free loopback port, ended by pid.
"""

import contextlib
import http.client
import importlib
import importlib.metadata
import json
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

PATH = "/v3/endpoints/0f0e0d0c-0000-4000-8000-000000000000/submit"
FUNCTION = "11111111-2222-4333-8444-555555555555"
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer bench"}
SERVERS: Mapping[str, str] = {
    "uvicorn": (
        "uvicorn choices_http:{app} --factory --port {port} --loop uvloop --http "
        "httptools --no-access-log --log-level warning --timeout-keep-alive 1"
    ),
    "granian": (
        "granian choices_http:{app} --factory --port {port} --interface asgi --loop "
        "uvloop --workers 1 --no-access-log --log-level warning"
    ),
    "hypercorn": (
        "hypercorn choices_http:{app}() -b 127.0.0.1:{port} -k uvloop -w 1 --log-level warning"
    ),
}
PAIRS = (
    ("uvicorn", "starlette_app"),
    ("uvicorn", "fastapi_app"),
    ("uvicorn", "fastapi_raw_app"),
    ("uvicorn", "litestar_app"),
    ("granian", "starlette_app"),
    ("granian", "fastapi_raw_app"),
    ("hypercorn", "starlette_app"),
    ("hypercorn", "fastapi_raw_app"),
)
CLIENTS = ("urllib3", "requests", "niquests", "httpx", "http.client")
Row = dict[str, Any]


class Submit(msgspec.Struct):
    """What the SDK posts; unknown fields are ignored, as the wire asks."""

    tasks: dict[str, list[str]]
    create_queue: bool = False
    task_group_id: str | None = None


class Submitted(msgspec.Struct):
    """The answer to `Submit`: ids in the order of the payloads."""

    request_id: str
    task_group_id: str
    endpoint_id: str
    tasks: dict[str, list[str]]


def body_of(count: int, group: str | None = None) -> bytes:
    """Return a submit body with `count` payloads of 400 characters."""
    payload = "36\n00\ngASVBQAAAAAAAABLAUsChpQu\n".ljust(400, "A")
    tasks = {FUNCTION: [payload] * count}
    return json.dumps({"tasks": tasks, "create_queue": True, "task_group_id": group}).encode()


def answer(endpoint: str, group: str | None, tasks: Mapping[str, list[str]]) -> Row:
    """Make one id for each payload; the same work in every framework."""
    return {
        "request_id": str(uuid.uuid4()),
        "task_group_id": group or str(uuid.uuid4()),
        "endpoint_id": endpoint,
        "tasks": {name: [str(uuid.uuid4()) for _ in items] for name, items in tasks.items()},
    }


def starlette_app() -> Any:
    """Build the submit route on bare Starlette: raw body, msgspec both ways."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def submit(request: Request) -> Response:
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return Response(status_code=401)
        asked = msgspec.json.decode(await request.body(), type=Submit)
        made = answer(request.path_params["endpoint"], asked.task_group_id, asked.tasks)
        return Response(msgspec.json.encode(made), media_type="application/json")

    return Starlette(routes=[Route("/v3/endpoints/{endpoint}/submit", submit, methods=["POST"])])


def _fastapi() -> tuple[Any, Any]:
    """Return an application and its bearer dependency."""
    from fastapi import Depends, FastAPI, Header, HTTPException

    async def bearer(authorization: str = Header("")) -> str:
        if not authorization.startswith("Bearer "):
            raise HTTPException(401)
        return authorization

    return FastAPI(), Depends(bearer)


def fastapi_app() -> Any:
    """Build the submit route as the FastAPI manual does: pydantic in, pydantic out."""
    import pydantic

    body: Any = pydantic.create_model(
        "Body",
        tasks=dict[str, list[str]],
        create_queue=(bool, False),
        task_group_id=(str | None, None),
    )
    reply: Any = pydantic.create_model(
        "Reply", request_id=str, task_group_id=str, endpoint_id=str, tasks=dict[str, list[str]]
    )
    app, bearer = _fastapi()

    @app.post("/v3/endpoints/{endpoint}/submit", response_model=reply)
    async def submit(endpoint: str, asked: body, token: str = bearer) -> Any:
        return answer(endpoint, asked.task_group_id, asked.tasks)

    return app


def fastapi_raw_app() -> Any:
    """Build the submit route on FastAPI with a raw body and msgspec on this one route."""
    from fastapi import Request, Response

    app, bearer = _fastapi()

    @app.post("/v3/endpoints/{endpoint}/submit")
    async def submit(endpoint: str, request: Request, token: str = bearer) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Submit)
        made = answer(endpoint, asked.task_group_id, asked.tasks)
        return Response(msgspec.json.encode(made), media_type="application/json")

    return app


def litestar_app() -> Any:
    """Build the submit route on Litestar, whose native models are msgspec structs."""
    from litestar import Litestar, Request, post
    from litestar.exceptions import NotAuthorizedException

    @post("/v3/endpoints/{endpoint:str}/submit", status_code=200)
    async def submit(endpoint: str, data: Submit, request: Request) -> Submitted:
        if not request.headers.get("authorization", "").startswith("Bearer "):
            raise NotAuthorizedException
        return Submitted(**answer(endpoint, data.task_group_id, data.tasks))

    return Litestar([submit])


@contextlib.contextmanager
def serving(server: str, app: str) -> Iterator[tuple[psutil.Process, int]]:
    """Run one server as a child; end it, and its own children, by pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.format(app=app, port=port) for word in SERVERS[server].split()]
    child = subprocess.Popen([sys.executable, "-m", *words], cwd=Path(__file__).parent)
    process = psutil.Process(child.pid)
    try:
        deadline = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if post_once(port, body_of(1)) == 200:
                    break
            if time.monotonic() > deadline or child.poll() is not None:
                raise RuntimeError(f"{server} with {app} did not start")
            time.sleep(0.05)
        yield process, port
    finally:
        family = process.children(recursive=True) if child.poll() is None else []
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for left in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def post_once(port: int, body: bytes) -> int:
    """Post on a connection of its own; return the status."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(link):
        link.request("POST", PATH, body, HEADERS)
        return link.getresponse().status


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and its children; granian and hypercorn serve from a child."""
    return [process, *process.children(recursive=True)]


def cpu_s(process: psutil.Process) -> float:
    """Return user and system seconds of the whole family."""
    return sum(sum(one.cpu_times()[:2]) for one in family_of(process))


def exchange(link: socket.socket, request: bytes) -> None:
    """Send prepared bytes and read one answer; the cheapest client, so the server is the limit.

    Raises:
        ConnectionError: the server closed the connection; open another (hypercorn does so
            after 1,000 requests).
    """
    link.sendall(request)
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += some(link)
    head, _, rest = seen.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    if not head.startswith(b"HTTP/1.1 200") or found is None:
        raise RuntimeError(head[:200])
    missing = int(found[1]) - len(rest)
    while missing > 0:
        missing -= len(some(link))


def some(link: socket.socket) -> bytes:
    """Read at least one byte."""
    if not (read := link.recv(65536)):
        raise ConnectionError("closed by the server")
    return read


def load(port: int, body: bytes, threads: int, seconds: float) -> list[float]:
    """Keep `threads` connections busy; return the latency of each request in seconds."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    request = "\r\n".join([*lines, "", ""]).encode() + body
    took: list[float] = []
    end = time.perf_counter() + seconds

    def run() -> None:
        while time.perf_counter() < end:
            address = ("127.0.0.1", port)
            with contextlib.suppress(ConnectionError), socket.create_connection(address, 5) as link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (start := time.perf_counter()) < end:
                    exchange(link, request)
                    took.append(time.perf_counter() - start)

    in_threads(run, threads)
    return took


def in_threads(run: Callable[[], None], count: int) -> None:
    """Run the same function in `count` threads and wait for all."""
    crew = [threading.Thread(target=run) for _ in range(count)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()


def measure_servers() -> list[Row]:
    """Measure each pair: three rounds of load, the median counts."""
    rows = []
    for server, app in PAIRS:
        with serving(server, app) as (process, port):
            load(port, body_of(128), 4, 0.4)
            rounds = []
            for _ in range(3):
                before = cpu_s(process)
                took = load(port, body_of(128), 4, 1.2)
                rounds.append((len(took) / 1.2, (cpu_s(process) - before) * 1000 / len(took)))
            small = load(port, body_of(1), 1, 0.8)
            pss = sum(one.memory_full_info().pss for one in family_of(process))
        row = {"server": server, "app": app.removesuffix("_app")}
        row["submit128_per_s"] = round(statistics.median(rate for rate, _ in rounds))
        row["cpu_ms"] = round(statistics.median(cpu for _, cpu in rounds), 3)
        row["cpu_ms_rounds"] = "/".join(f"{cpu:.2f}" for _, cpu in rounds)
        row["submit1_p50_ms"] = round(statistics.median(small) * 1000, 3)
        row["pss_mb"] = round(pss / 1e6, 1)
        rows.append(row)
    return rows


def client_of(name: str, port: int) -> Callable[[bytes], bytes]:
    """Return a function that posts a body over one shared client of that library."""
    url = f"http://127.0.0.1:{port}{PATH}"
    if name == "http.client":
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

        def call(body: bytes) -> bytes:
            link.request("POST", PATH, body, HEADERS)
            return link.getresponse().read()

        return call
    library = importlib.import_module(name)
    if name == "urllib3":
        pool = library.PoolManager(maxsize=8, timeout=5, retries=False)
        return lambda body: bytes(pool.request("POST", url, body=body, headers=HEADERS).data)
    session = library.Client(timeout=5) if name == "httpx" else library.Session()
    keyword = "content" if name == "httpx" else "data"
    return lambda body: bytes(session.post(url, **{keyword: body}, headers=HEADERS).content)


def shared_faults(call: Callable[[bytes], bytes]) -> int:
    """Share one client between 8 threads; count errors and answers meant for another."""
    faults: list[str] = []

    def run() -> None:
        for _ in range(60):
            group = str(uuid.uuid4())
            try:
                if json.loads(call(body_of(1, group)))["task_group_id"] != group:
                    faults.append("swapped")
            except Exception as error:  # noqa: BLE001  # any failure of the library is the finding
                faults.append(type(error).__name__)

    in_threads(run, 8)
    return len(faults)


def closure(name: str, seen: set[str]) -> set[str]:
    """Add the distribution and all that its plain install brings to `seen`."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        needs = importlib.metadata.requires(key) or []
        if key not in seen:
            seen.add(key)
            for need in needs:
                if "extra ==" not in need:
                    closure(re.split(r"[^\w.-]", need)[0], seen)
    return seen


def installed_bytes(names: set[str]) -> int:
    """Return the size of the distributions' files as recorded at install."""
    files = [file for name in names for file in importlib.metadata.files(name) or []]
    return sum(file.size or 0 for file in files)


def measure_clients() -> list[Row]:
    """Measure each client against the same server: one thread, eight threads, idle drop."""
    rows: list[Row] = []
    with serving("uvicorn", "starlette_app") as (_, port):
        calls = {n: client_of(n, port) for n in CLIENTS}
        for name, call in calls.items():
            row: Row = {"client": name}
            for count, size in ((1500, 1), (400, 128)):
                body, took = body_of(size), []
                call(body)
                before = time.process_time()
                for _ in range(count):
                    start = time.perf_counter()
                    call(body)
                    took.append(time.perf_counter() - start)
                row[f"p50_ms_{size}"] = round(statistics.median(took) * 1000, 3)
                row[f"cpu_ms_{size}"] = round((time.process_time() - before) * 1000 / count, 3)
            names = closure(name, set())
            row["packages"], row["mb"] = len(names), round(installed_bytes(names) / 1e6, 1)
            rows.append(row)
        time.sleep(2.5)  # the server drops idle connections after 1 s
        for row, call in zip(rows, calls.values(), strict=True):
            try:
                row["after_idle_drop"] = "ok" if json.loads(call(body_of(1))) else "empty"
            except Exception as error:  # noqa: BLE001  # as above
                row["after_idle_drop"] = type(error).__name__
            row["faults_of_480"] = shared_faults(client_of(row["client"], port))
    return rows
