"""What is measured: how often in each form, and the rows that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Side(StrEnum):
    """Whose agent, or whose SDK."""

    OURS = "ours"
    PUBLIC = "public"


class Statistic(StrEnum):
    """What becomes of all samples of a row."""

    MEDIAN = "median"
    P50 = "p50"
    P95 = "p95"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done.

    Attributes:
        rounds: how often each agent has its turn.
        cold: cold starts of a thread pool in a turn.
        trips: round trips of each kind in a turn.
        few: no-op tasks at once, the lower number.
        many: the higher one, in the last turn alone.
        together: user endpoints that are asked for at once.
        imports: fresh interpreters that load each SDK, in a turn.
        limit_s: the longest wait for a result.
    """

    rounds: int
    cold: int
    trips: int
    few: int
    many: int
    together: int
    imports: int
    limit_s: float = 180.0


FULL: Final = Plan(rounds=2, cold=3, trips=12, few=2_000, many=10_000, together=20, imports=5)
QUICK: Final = Plan(rounds=1, cold=1, trips=4, few=100, many=200, together=3, imports=1)

ENGINES: Final = {"threads": "thread pool", "htex": "HTEX"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: stable word, in the JSON.
        samples: name of the samples that it is made of; several rows may share them.
        unit: `s`, `ms`, `tasks/s` or `MB`; samples of times are in seconds.
        compares: `agent` (our SDK is the client of both) or `sdk` (both at our agent).
    """

    name: str
    title: str
    samples: str
    statistic: Statistic
    unit: str
    compares: str

    @property
    def more_is_better(self) -> bool:
        """Whether a greater figure is the better one."""
        return self.unit == "tasks/s"


def rows(plan: Plan) -> list[Row]:
    """Return the rows, in the order of the table."""
    found = [row for engine, words in ENGINES.items() for row in _of_engine(engine, words, plan)]
    asked = f"{plan.together} user endpoints asked for at once: the last one's first result"
    pss = "resident memory (PSS), idle: "
    found += [
        _agent("together", asked, "s"),
        _agent("memory_agent", f"{pss}the agent alone", "MB"),
        _agent("memory_with_one", f"{pss}the agent and one user endpoint", "MB"),
    ]
    trip = "SDK: warm round trip, thread pool"
    return [
        *found,
        Row("sdk_warm_p50", f"{trip}, p50", "sdk_trips", Statistic.P50, "ms", "sdk"),
        Row("sdk_warm_p95", f"{trip}, p95", "sdk_trips", Statistic.P95, "ms", "sdk"),
        _sdk("sdk_few", f"SDK: {plan.few:,} no-ops, thread pool", "tasks/s"),
        _sdk("sdk_import", "SDK: import", "ms"),
    ]


def _of_engine(engine: str, words: str, plan: Plan) -> list[Row]:
    p50, p95 = Statistic.P50, Statistic.P95
    warm, amqp = f"{words}: warm round trip through the SDK", f"{words}: warm round trip over AMQP"
    return [
        _agent(f"{engine}_cold", f"{words}: cold start to first result", "s"),
        Row(f"{engine}_warm_p50", f"{warm}, p50", f"{engine}_trips", p50, "ms", "agent"),
        Row(f"{engine}_warm_p95", f"{warm}, p95", f"{engine}_trips", p95, "ms", "agent"),
        Row(f"{engine}_amqp_p50", f"{amqp}, p50", f"{engine}_amqp", p50, "ms", "agent"),
        Row(f"{engine}_amqp_p95", f"{amqp}, p95", f"{engine}_amqp", p95, "ms", "agent"),
        _agent(f"{engine}_few", f"{words}: {plan.few:,} no-ops", "tasks/s"),
        _agent(f"{engine}_many", f"{words}: {plan.many:,} no-ops", "tasks/s"),
    ]


def _agent(name: str, title: str, unit: str) -> Row:
    return Row(name, title, name, Statistic.MEDIAN, unit, "agent")


def _sdk(name: str, title: str, unit: str) -> Row:
    return Row(name, title, name, Statistic.MEDIAN, unit, "sdk")
