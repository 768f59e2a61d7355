"""Writes the page of all that people are told about a scheduler's jobs, from the code's own tables.

`python -m devtools.scheduler_reference FILE`
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from chamberlain_endpoint.scheduler import reasons
from chamberlain_endpoint.scheduler.records import End, JobState, Said

PAGE: Final = Path(__file__).parents[1] / "docs/reference/scheduler-messages.md"
_INTRO: Final = """\
# What people are told about jobs

Made from the tables in `chamberlain_endpoint/scheduler/reasons.py` by
`python -m devtools.scheduler_reference docs/reference/scheduler-messages.md`; a test compares the
two. [Nodes from Slurm and other schedulers](../guides/schedulers.md) tells what becomes of a job,
and which of these a real Slurm has shown.

A task whose block could not be had fails with the code `START_FAILED`; one that had begun, and lost
its worker, with `TASK_LOST`. The sentences below are the same for both. `NODE` is the node's name;
the scheduler's own words are quoted as they are.
"""
_REFUSED: Final = """\
## Refused when it is submitted

The future says at once: `The scheduler did not take the job of the workers: WORDS. ADVICE` The
advice is chosen by the first of these texts that is in the scheduler's words, whatever its case.
"""
_WAITING: Final = """\
## Waiting

In the user endpoint's status at the hub, `details.blocks` has for each block `state`, `reason` (the
scheduler's word), `meaning` and `seconds`. A job that would wait for ever is *taken back* after
20 s, and the future says: `The workers never began: their job MEANING (REASON). ADVICE`
"""
_ENDED: Final = """\
## Ended

The future says: `The workers SENTENCE while the task ran. ADVICE`, or `before they could serve`. A
block whose script failed is tried again; after the third in a row the breaker opens.
"""
_BESIDE: Final = """\
## Beside these

| the future says | cause | what to do |
|---|---|---|
| `... 3 blocks in a row failed ...` | the [breaker](../guides/schedulers.md#the-breaker) is open: \
the reason and the end of the last job's output follow | repair what they name; an administrator \
then runs `chamberlain-endpoint reset-breaker` |
| `The scheduler has not answered for 10 minutes, so no nodes could be asked for (...)` | its \
controller or server is down or cannot be reached from the login node | submit again later; \
administrators: `chamberlain-endpoint doctor` |
| `PROVIDER cannot be used on this host: ...` | a program or a package that the provider needs is \
missing | tell the site's administrators |
| `chamberlain: the node NODE has no image in FOLDER. ...` | `container_type: unpacked`, and the \
image is not on that node | administrators: `chamberlain-endpoint image install` there |
| `chamberlain: the node NODE lets accounts make no user namespaces, ...` | `container_type: \
unpacked` on a node whose kernel refuses them | administrators: allow them, or choose another \
`container_type` |
"""


def page() -> str:
    """Return the whole page."""
    parts = [
        _INTRO,
        _REFUSED,
        _table(
            ("in the scheduler's words", "advice"),
            ((f"`{words}`", todo) for words, todo in reasons.REFUSALS),
        ),
        _WAITING,
        _table(
            ("reason", "meaning", "advice", "taken back"),
            [
                *(_waits(f"`{reason}`", one) for reason, one in reasons.WAITS.items()),
                *(_waits(f"any with `{part}`", one) for part, one in reasons.LIKE),
                ("any other", "waits", "", ""),
            ],
        ),
        _ENDED,
        _table(("end", "sentence", "advice"), map(_ended, End)),
        _BESIDE,
    ]
    return "\n".join(parts)


def _waits(reason: str, one: reasons.Waiting) -> Sequence[str]:
    return reason, one.meaning, one.todo, "yes" if one.stuck else ""


def _ended(end: End) -> Sequence[str]:
    if end is End.STUCK:
        return f"`{end}`", "never began: see above", ""
    said = Said(JobState.ENDED, "REASON", end, node="NODE")
    told = reasons.how_it_went(said, walltime="01:00:00")
    return f"`{end}`", told.how, told.todo


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Write the page to the file that the first argument names."""
    Path(sys.argv[1]).write_text(page())


if __name__ == "__main__":
    main()
