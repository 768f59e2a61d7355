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
            that other hosts need are below the account's home instead.
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
            from chamberlain_endpoint.engine.htex import ParslEngine

            if is_elsewhere(config.provider):
                run_dir = Path.home() / ".chamberlain" / "engines" / (name or run_dir.name)
            return ParslEngine(config, run_dir=run_dir, name=name)
        case _:
            assert_never(config)
