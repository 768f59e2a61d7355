"""Every cap, with its unit in its name. Standard library only."""

from __future__ import annotations

from typing import Final

MAX_SUBMIT_BYTES: Final = 10 * 1024 * 1024
"""Largest body of one submit request."""

MAX_RESULT_BYTES: Final = 10 * 1024 * 1024
"""Largest packed result of one task; a larger one ends the task with RESULT_TOO_LARGE."""

TASK_OUTPUT_BYTES: Final = 64 * 1024
"""How much of the end of each output stream of a task is kept, unless a template says else."""

MAX_TASK_OUTPUT_BYTES: Final = 1024 * 1024
"""The most that a template may ask to keep, and anybody shows, of one output stream."""

MAX_FUNCTION_BYTES: Final = 5 * 1024 * 1024
"""Largest registered function."""

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Largest task or result message (function and payload together, with JSON escapes)."""

MAX_COMMAND_BYTES: Final = 256 * 1024
"""Largest command that a manager reads."""

MAX_STATUS_BYTES: Final = 1024 * 1024
"""Largest heartbeat or event report."""

MAX_ASSERTION_BYTES: Final = 32 * 1024
"""Largest signed assertion; the launcher refuses more before it looks inside."""

MAX_LAUNCH_BYTES: Final = 512 * 1024
"""Largest frame between manager and launcher."""

MAX_RENDERED_CONFIG_BYTES: Final = 64 * 1024
"""Largest rendered user endpoint configuration, as JSON."""

MAX_OPTIONS_BYTES: Final = 64 * 1024
"""Largest `user_endpoint_config` of a caller, as canonical JSON."""

MAX_OPTIONS_DEPTH: Final = 20
"""Deepest nesting of `user_endpoint_config`."""

COMMAND_MAX_AGE_S: Final = 180.0
"""A command older than this is refused (clock skew included)."""

CLOCK_SKEW_S: Final = 30.0
"""How far in the future a signed statement may be issued and still be believed."""

ASSERTION_LIFETIME_S: Final = 180.0
"""Longest life of a signed assertion."""

SUBMIT_VERDICT_WAIT_S: Final = 5.0
"""How long submit waits for the manager's verdict before the tasks are simply accepted."""

MAX_TASKS_PER_SUBMIT: Final = 10_000
"""Most tasks in one submit request."""

MAX_ENDPOINT_NAME_CHARS: Final = 128
"""Longest local name of an endpoint."""

EXIT_JOBS_LEFT: Final = 76
"""Exit code of a user endpoint that left in order but for batch jobs that it could not end."""
