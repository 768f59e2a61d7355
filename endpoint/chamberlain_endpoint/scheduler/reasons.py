"""What a scheduler's words mean to a researcher, who has no shell there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from chamberlain_endpoint.scheduler.ending import how_it_ended
from chamberlain_endpoint.scheduler.records import End, Said


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job waits.

    Attributes:
        meaning: a sentence without a subject, such as `waits for free nodes`.
        todo: a sentence for the caller.
        stuck: it will not begin until somebody does something.
    """

    meaning: str
    todo: str = ""
    stuck: bool = False


_LESS: Final = "Ask for less (nodes, cores, memory or walltime), or for another partition."
_ADMINISTRATOR: Final = "Ask the administrators of the cluster."

WAITS: Final = MappingProxyType(
    {
        "Resources": Waiting("waits for free nodes"),
        "Priority": Waiting("waits behind jobs of higher priority"),
        "Prolog": Waiting("is being prepared on its nodes"),
        "BeginTime": Waiting("waits for its time of begin"),
        "Reservation": Waiting("waits for its reservation to begin"),
        "Licenses": Waiting("waits for a licence"),
        "Cleaning": Waiting("waits for the clearing up of an earlier run"),
        "NodeDown": Waiting("waits for a node that is down"),
        "PartitionDown": Waiting("waits for its partition, which is down", _ADMINISTRATOR),
        "PartitionInactive": Waiting("waits for its partition, which is inactive", _ADMINISTRATOR),
        "JobHeldAdmin": Waiting("is held by an operator", _ADMINISTRATOR, stuck=True),
        "JobHeldUser": Waiting(
            "is held by its owner's account",
            "Whoever may use your account at the cluster can release it.",
            stuck=True,
        ),
        "JobHoldMaxRequeue": Waiting(
            "is held: it was put back into the queue too often", _ADMINISTRATOR, stuck=True
        ),
        "PartitionTimeLimit": Waiting(
            "asks for more walltime than its partition allows",
            "Ask for a shorter walltime, or for a partition that allows more.",
            stuck=True,
        ),
        "PartitionNodeLimit": Waiting(
            "asks for more nodes than its partition has or allows", _LESS, stuck=True
        ),
        "PartitionConfig": Waiting("asks for what its partition does not allow", _LESS, stuck=True),
        "BadConstraints": Waiting("asks for what no node has", _LESS, stuck=True),
        "AccountNotAllowed": Waiting(
            "names an account that its partition does not allow",
            "Choose another account or partition.",
            stuck=True,
        ),
        "InvalidAccount": Waiting(
            "names an account that the scheduler does not know for you",
            "Check the account's spelling, and that you are a member.",
            stuck=True,
        ),
        "QOSNotAllowed": Waiting(
            "names a quality of service that is not allowed there",
            "Choose another quality of service or partition.",
            stuck=True,
        ),
        "InvalidQOS": Waiting(
            "names a quality of service that the scheduler does not know for you",
            "Choose another quality of service.",
            stuck=True,
        ),
        "DependencyNeverSatisfied": Waiting(
            "waits for a job that failed", _ADMINISTRATOR, stuck=True
        ),
    }
)
_OTHERS: Final = "others of your jobs, or of your group's, must end first"
LIKE: Final = (
    # A part of the scheduler's words, and what it means; the first that fits.
    ("PerJob", Waiting("asks for more than one job may have", _LESS, stuck=True)),
    ("Assoc", Waiting(f"waits for a limit of your group's or account's: {_OTHERS}")),
    ("QOS", Waiting(f"waits for a limit of its quality of service: {_OTHERS}")),
    # PBS tells it in a comment.
    ("Can Never Run", Waiting("asks for what this cluster cannot give", _LESS, stuck=True)),
    ("ReqNodeNotAvail", Waiting("waits for nodes that are not available")),
    (
        "not in group permitted",
        Waiting("asks for a partition that you may not use", "Choose another.", stuck=True),
    ),
    ("held", Waiting("is held", _ADMINISTRATOR, stuck=True)),
)


def why_it_waits(reason: str) -> Waiting | None:
    """Return what a pending reason means; None when there is nothing to say."""
    if not reason:
        return None
    like = (waits for words, waits in LIKE if words in reason)
    return WAITS.get(reason) or next(like, Waiting("waits"))


REFUSALS: Final = (
    ("policy", "Wait until others of your jobs have ended, or ask for less."),
    ("account", "Check the account's name, and that you are a member of it."),
    ("partition", "Check the partition's name, and that you may use it."),
    ("qos", "Check the quality of service, and that you may use it."),
    ("time limit", "Ask for a shorter walltime, or for a partition that allows more."),
    ("node configuration", _LESS),
    ("node count", _LESS),
    ("memory", _LESS),
    ("exceeds queue", _LESS),
    ("queue", "Check the queue's name, and that you may use it."),
)


def what_to_do(refusal: str) -> str:
    """Return a sentence for who was refused a job; empty when nothing is known."""
    lowered = refusal.lower()
    return next((todo for words, todo in REFUSALS if words in lowered), "")


@dataclass(frozen=True, slots=True)
class Told:
    """How a job ended, for a caller; see `port.BlockEnded`."""

    how: str
    todo: str = ""


_AGAIN: Final = "Submit again; ask the administrators of the cluster if it repeats."
TOLD: Final = MappingProxyType(
    {
        End.COMPLETED: Told("ended{on}"),
        End.CANCELLED: Told("were cancelled{on}, by an operator or from your account", _AGAIN),
        End.TIMEOUT: Told(
            "were ended by the scheduler{on}: their walltime{walltime} was over",
            "Ask for a longer walltime, or send smaller tasks.",
        ),
        End.OUT_OF_MEMORY: Told(
            "were killed{on}: their job used more memory than it had asked for",
            "Ask for more memory, or have fewer workers on a node (max_workers_per_node, "
            "mem_per_worker).",
        ),
        End.NODE_FAIL: Told("were lost with their node{on}, which failed", "Submit again."),
        End.PREEMPTED: Told(
            "had to make room{on} for a job of higher priority (preempted)",
            "Submit again, or choose a partition without preemption.",
        ),
        End.MISSING: Told(
            "are not known to the scheduler any more, which did not say how they ended", _AGAIN
        ),
    }
)


def how_it_went(said: Said, *, cancelled: bool = False, walltime: str = "") -> Told:
    """Return how a job ended.

    Args:
        said: what the scheduler said of its end.
        cancelled: its end was asked for by us.
        walltime: that it had asked for; may be empty.
    """
    assert said.end is not None
    on = f" on {said.node}" if said.node else ""
    if said.end is End.CANCELLED and cancelled:
        return Told("were let go")
    if said.end is End.FAILED:
        return Told(_failed(said, on))
    if said.end is End.STUCK:
        waits = why_it_waits(said.reason) or Waiting("waits")
        return Told(_with(f"never began: their job {waits.meaning}", said.reason), waits.todo)
    told = TOLD[said.end]
    limit = f" ({walltime})" if walltime else ""
    return Told(told.how.format(on=on, walltime=limit), told.todo)


def _failed(said: Said, on: str) -> str:
    if said.signal:
        return f"{_were(-said.signal)}{on}"
    if said.exit_code is not None:
        return f"{_were(said.exit_code)}{on}"
    return _with(f"failed{on}", said.reason)


def _were(code: int) -> str:
    return how_it_ended(code).replace("was", "were", 1)


def _with(text: str, reason: str) -> str:
    return f"{text} ({reason})" if reason and reason not in text else text
