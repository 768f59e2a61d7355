"""From a configuration to the engine that it names. Imports only what is needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from chamberlain_endpoint.engine.port import Engine
from chamberlain_endpoint.rendered.settled import Engine as EngineConfig
from chamberlain_endpoint.rendered.settled import HtexEngine, ProcessPoolEngine, ThreadPoolEngine


def make_engine(config: EngineConfig, *, run_dir: Path) -> Engine:
    """Return the engine for `config`, not started.

    Args:
        run_dir: absolute folder on a local disk for its own files and logs.
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

            return ParslEngine(config, run_dir=run_dir)
        case _:
            assert_never(config)
