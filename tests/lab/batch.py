"""A task that submits a job from where it runs, looks whose it is, and cancels it.

A file of the lab's share, such as `examples/hello.py`: imports stand in the function.
"""

from __future__ import annotations


def hello() -> dict[str, str]:
    """Return the job, its owner, and what `scancel` said."""
    import subprocess

    def said(*words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).strip()

    options = ("--parsable", "--chdir=/tmp", "--output=/dev/null", "--wrap", "sleep 600")
    job = said("sbatch", *options)
    owner = said("squeue", "--noheader", "--jobs", job, "--format", "%u")
    return {"job": job, "owner": owner, "cancelled": said("scancel", "--verbose", job)}
