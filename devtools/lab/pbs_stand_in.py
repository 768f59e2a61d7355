#!/usr/bin/python3
"""`qstat -f [-F json]` and `qselect`, as OpenPBS prints them, over the lab's Slurm. A stand-in.

Debian has no OpenPBS. Its `slurm-wlm-torque` has `qsub` and `qdel`, and a `qstat` that knows
neither JSON nor ended jobs. This goes before that one in PATH, and hands everything else on
to it. It is for tests: what it prints is what we believe of OpenPBS, not OpenPBS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

THEIRS = "/usr/bin/qstat"
STATES = {"PENDING": "Q", "RUNNING": "R", "SUSPENDED": "S", "COMPLETING": "E"}
UNKNOWN = 153


def main() -> int:
    """Be the program whose name we have."""
    program, *words = sys.argv
    if os.path.basename(program) == "qselect":  # noqa: PTH119 - one word
        user = words[words.index("-u") + 1]
        sys.stdout.write(said("squeue", "-h", "-u", user, "-o", "%A"))
        return 0
    if "-f" not in words:
        os.execv(THEIRS, [THEIRS, *words])  # noqa: S606 - no shell is wanted
    ids = [word for word in words if word[0].isdigit()]
    shown = {one: job(one) for one in ids}
    known = {one: fields for one, fields in shown.items() if fields}
    # Without -x, PBS does not tell of ended jobs.
    if "-x" not in words:
        known = {one: fields for one, fields in known.items() if fields["job_state"] != "F"}
    sys.stdout.write(json.dumps({"Jobs": known}) if "json" in words else as_text(known))
    for one in ids:
        if one not in known:
            sys.stderr.write(f"qstat: Unknown Job Id {one}\n")
    return 0 if len(known) == len(ids) else UNKNOWN


def job(number: str) -> dict[str, Any]:
    """Return the attributes of a job, empty when Slurm does not know it."""
    told = said("scontrol", "-o", "show", "job", number)
    fields = dict(re.findall(r"(\w+)=(\S*)", told))
    if "JobState" not in fields:
        return {}
    code, _, signal = fields["ExitCode"].partition(":")
    ends = {
        "TIMEOUT": {"Exit_status": -29, "substate": 93},
        "CANCELLED": {"Exit_status": 271, "substate": 91},
        "OUT_OF_MEMORY": {"Exit_status": -27, "substate": 93},
    }
    ended = {"Exit_status": 256 + int(signal) if signal != "0" else int(code), "substate": 92}
    state = STATES.get(fields["JobState"], "F")
    held = fields["Reason"].startswith("JobHeld")
    nodes = fields["NodeList"]
    return {
        "Job_Name": fields["JobName"],
        "Job_Owner": fields["UserId"].partition("(")[0] + "@login",
        "job_state": "H" if held and state == "Q" else state,
        "queue": fields["Partition"],
        "Hold_Types": ("u" if fields["Reason"] == "JobHeldUser" else "s") if held else "n",
        "comment": f"Not Running: {fields['Reason']}" if state == "Q" else "",
        **({"exec_host": f"{nodes}/0"} if nodes not in ("", "(null)") else {}),
        **(ends.get(fields["JobState"], ended) if state == "F" else {}),
        "Resource_List": {"walltime": fields["TimeLimit"]},
        "resources_used": {"walltime": fields["RunTime"]},
    }


def as_text(jobs: dict[str, dict[str, Any]]) -> str:
    """Return `jobs` in the form without JSON."""
    lines = []
    for one, fields in jobs.items():
        lines.append(f"Job Id: {one}")
        for key, value in fields.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            lines += [f"    {f'{key}.{name}'.rstrip('.')} = {text}" for name, text in inner]
    return "\n".join([*lines, ""])


def said(*words: str) -> str:
    """Return what a program of Slurm's prints."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
