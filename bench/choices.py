"""Measure the candidates behind ADR 0003 to 0006, on loopback only.

Parts: `servers` (framework and ASGI server on the submit route), `clients` (HTTP clients
of the SDK), `imports` (what loading a library costs), `codecs` (JSON of the wire messages),
`sql` (128 rows in one transaction). Work is bounded by count or by time; all parts together
take under 120 s. `choices_http.py` holds the first two parts.
"""

import argparse
import dataclasses
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from choices_http import FUNCTION, Row, Submit, body_of, measure_clients, measure_servers

IMPORTS = [
    "starlette.applications",
    "fastapi",
    "litestar",
    "uvicorn",
    "granian",
    "hypercorn",
    "httpx",
    "requests",
    "urllib3",
    "niquests",
    "http.client",
    "msgspec",
    "pydantic",
    "sqlalchemy",
]


class TaskData(msgspec.Struct):
    """Body of a Task message."""

    task_id: str
    task_buffer: str
    container_id: str | None = None
    container: str | None = None


class TaskStatus(msgspec.Struct):
    """One line of a result's history."""

    timestamp: int
    state: str
    actor: str


class ResultData(msgspec.Struct):
    """Body of a Result message."""

    task_id: str
    data: str
    details: dict[str, str]
    error_details: dict[str, str] | None
    task_statuses: list[TaskStatus]


def measure_imports() -> list[Row]:
    """Time a first import in a fresh interpreter: the median of five."""
    code = "import os,sys,time;a=time.perf_counter();{};b=time.perf_counter();"
    code += "pages=int(open('/proc/self/statm').read().split()[1]);"
    code += "print((b-a)*1e3,pages*os.sysconf('SC_PAGESIZE')/1e6,len(sys.modules))"
    rows = []
    for name in IMPORTS:
        words = [sys.executable, "-c", code.format(f"import {name}")]
        runs = [subprocess.check_output(words, text=True).split() for _ in range(5)]
        ms, mb, modules = (
            statistics.median(map(float, column)) for column in zip(*runs, strict=True)
        )
        row = {"module": name, "import_ms": round(ms, 1), "rss_mb": round(mb, 1)}
        rows.append(row | {"modules": int(modules)})
    return rows


def us_per(run: Callable[[], object], seconds: float = 0.25) -> float:
    """Return microseconds a call, the best of three batches."""
    count, best = 1, float("inf")
    while True:
        start = time.perf_counter()
        for _ in range(count):
            run()
        if (took := time.perf_counter() - start) > seconds / 5:
            break
        count *= 2
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            run()
        best = min(best, (time.perf_counter() - start) / count)
    return round(min(best, took / count) * 1e6, 2)


def measure_codecs() -> list[Row]:
    """Decode and encode the three messages with each codec; check that they agree."""
    import pydantic

    text = "36\n00\ngASVBQAAAAAAAABLAUsChpQu\n".ljust(400, "A")
    details = {"os": "Linux", "python_version": "3.11.2", "dill_version": "0.4.1"}
    status = [{"timestamp": 1700000000000, "state": "exec-end", "actor": "worker"}] * 2
    task = {"task_id": FUNCTION, "task_buffer": text * 4, "container_id": None, "container": None}
    result = {"task_id": FUNCTION, "data": text, "details": details, "error_details": None}
    samples = (
        ("task", TaskData, task),
        ("result", ResultData, result | {"task_statuses": status}),
        ("submit128", Submit, json.loads(body_of(128))),
    )
    rows = []
    for label, struct, plain in samples:
        wire = json.dumps(plain).encode()
        fields = msgspec.structs.fields(struct)
        made = dataclasses.make_dataclass(label, [field.name for field in fields], slots=True)
        line: Any = pydantic.create_model("S", timestamp=int, state=str, actor=str)
        nested = {"task_statuses": (list[line], ...)}
        known = {field.name: (field.type, ...) for field in fields}
        model: Any = pydantic.create_model(label, **(known | (nested if label == "result" else {})))
        ready, encoder = msgspec.json.Decoder(struct), msgspec.json.Encoder()
        codecs: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
            "json+dataclass": (
                lambda raw, made=made: made(**json.loads(raw)),
                lambda item: json.dumps({n: getattr(item, n) for n in item.__slots__}).encode(),
            ),
            "pydantic": (model.model_validate_json, lambda item: item.model_dump_json().encode()),
            "msgspec": (ready.decode, encoder.encode),
        }
        for codec, (decode, encode) in codecs.items():
            item = decode(wire)
            assert json.loads(encode(item)) == plain, (codec, label)
            row: Row = {"codec": codec, "message": label, "bytes": len(wire)}
            row["decode_us"] = us_per(lambda d=decode, w=wire: d(w))
            row["encode_us"] = us_per(lambda e=encode, i=item: e(i))
            rows.append(row)
    return rows


def measure_sql() -> list[Row]:
    """Commit 128 tasks a transaction, by SQLAlchemy Core and by sqlite3, WAL on disk."""
    import sqlalchemy as sa

    columns = ["task_id", "task_group_id", "function_id", "endpoint_id", "state", "payload"]
    table = sa.Table(
        "task", sa.MetaData(), *(sa.Column(c, sa.Text, primary_key=c == "task_id") for c in columns)
    )
    marks = ", ".join(f":{name}" for name in columns)
    rows, text = [], "A" * 400

    def batch() -> list[dict[str, str]]:
        fixed = dict.fromkeys(columns, FUNCTION) | {"state": "waiting", "payload": text}
        return [fixed | {"task_id": str(uuid.uuid4())} for _ in range(128)]

    for level in ("FULL", "NORMAL"):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            path = Path(folder) / "bench.db"
            engine = sa.create_engine(f"sqlite:///{path}")

            @sa.event.listens_for(engine, "connect")
            def prepare(link: Any, _: object, level: str = level) -> None:
                link.execute("PRAGMA journal_mode=WAL")
                link.execute(f"PRAGMA synchronous={level}")

            table.metadata.create_all(engine)
            raw = sqlite3.connect(path)
            prepare(raw, None)

            def by_core(items: list[dict[str, str]], engine: sa.Engine = engine) -> None:
                with engine.begin() as link:
                    link.execute(table.insert(), items)

            def by_driver(items: list[dict[str, str]], raw: sqlite3.Connection = raw) -> None:
                with raw:
                    raw.executemany(f"INSERT INTO task VALUES ({marks})", items)

            took: dict[str, list[tuple[float, float]]] = {"core": [], "sqlite3": []}
            for _ in range(250):  # taken in turns, so that both meet the same table
                for way, run in (("core", by_core), ("sqlite3", by_driver)):
                    items, cpu, start = batch(), time.process_time(), time.perf_counter()
                    run(items)
                    took[way].append((time.perf_counter() - start, time.process_time() - cpu))
            raw.close()
            engine.dispose()
        for way, pairs in took.items():
            wall, cpu = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
            row = {"way": way, "synchronous": level, "p50_ms": round(wall, 3)}
            rows.append(row | {"cpu_ms": round(cpu, 3), "rows_per_s": round(128000 / wall)})
    return rows


def show(title: str, rows: list[Row]) -> None:
    """Print rows as a table."""
    names = list(rows[0])
    wide = [max(len(n), *(len(str(row[n])) for row in rows)) for n in names]
    print(f"\n{title}")
    for cells in (names, *([str(row[n]) for n in names] for row in rows)):
        print("  ".join(cell.ljust(w) for cell, w in zip(cells, wide, strict=True)).rstrip())


def main() -> None:
    """Run the asked parts and print what they found."""
    parts: dict[str, Callable[[], list[Row]]] = {
        "servers": measure_servers,
        "clients": measure_clients,
        "imports": measure_imports,
        "codecs": measure_codecs,
        "sql": measure_sql,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=list(parts), help="parts to run"
    )
    asked = parser.parse_args()
    start = time.monotonic()
    found = {name: parts[name]() for name in asked.only}
    if asked.json:
        print(json.dumps(found | {"took_s": round(time.monotonic() - start, 1)}))
        return
    for title, rows in found.items():
        show(title, rows)
    print(f"\ntook {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
