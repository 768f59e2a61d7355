"""From a configuration to the engine that it names. Imports only what is needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from chamberlain_endpoint.engine.port import Engine
from chamberlain_endpoint.rendered.settled import Engine as EngineConfig
from chamberlain_endpoint.rendered.settled import HtexEngine, ProcessPoolEngine, ThreadPoolEngine
from chamberlain_endpoint.scheduler.choose import is_elsewhere


def make_engine(config: EngineConfig, *, run_dir: Path, name: str = "") -> Engine:
    """Return the engine for `config`, not started.

    Args:
        run_dir: absolute folder on a local disk for its own files and logs. Keys and scripts
            that other hosts need are below the account's home instead. The breaker is beside it.
        name: id of the user endpoint.
    """
    match config:
        case ThreadPoolEngine():
            from chamberlain_endpoint.engine.local import ThreadEngine

            return ThreadEngine(config)
        case ProcessPoolEngine():
            from chamberlain_endpoint.engine.processes import ProcessEngine

            return ProcessEngine(config, run_dir=run_dir)
        case HtexEngine():
            from chamberlain_endpoint.engine.breaker_file import FILE_NAME
            from chamberlain_endpoint.engine.htex import ParslEngine

            breaker_path = run_dir.with_name(FILE_NAME)
            if is_elsewhere(config.provider):
                run_dir = _shared("engines", name or run_dir.name)
            return ParslEngine(config, run_dir=run_dir, breaker_path=breaker_path, name=name)
        case _:
            assert_never(config)


def tasks_above(config: EngineConfig, *, state_dir: Path, name: str) -> Path:
    """Return the folder that a relative `working_dir` of tasks is in.

    Args:
        state_dir: the user endpoint's own, which no other host sees.
        name: id of the user endpoint.
    """
    if isinstance(config, HtexEngine) and is_elsewhere(config.provider):
        return _shared("tasks", name)
    return state_dir


def _shared(kind: str, name: str) -> Path:
    """Return a folder below the account's home, which compute nodes see as well."""
    return Path.home() / ".chamberlain" / kind / name
