"""What the process that workers are forked from imports, once a node."""

from __future__ import annotations

from chamberlain_endpoint.engine.doors import open_lazily

open_lazily()

import parsl.executors.high_throughput.process_worker_pool  # noqa: E402, F401

from chamberlain_endpoint.engine import worker  # noqa: E402
from chamberlain_endpoint.engine.parsl_entry import quiet_workers  # noqa: E402

quiet_workers()
worker.warm()
