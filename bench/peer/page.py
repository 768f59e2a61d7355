"""The section of `docs/reference/performance.md` that shows the last run, made of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.peer import plot
from bench.peer.figures import shown
from bench.peer.plan import Side
from devtools.paths import ROOT
from devtools.say import CannotGoOnError

PAGE: Final = ROOT / "docs" / "reference" / "performance.md"
PICTURE: Final = "performance-peer.svg"
BEGIN: Final = "<!-- made by: python -m bench.peer --write-docs -->"
END: Final = "<!-- end of what bench.peer made -->"
_HEAD: Final = ("| what | ours | public | times better |", "|---|---|---|---|")
_QUIET: Final = 0.5
_SHARES: Final = {
    "agent": "Our agent and the public agent, the client of both is our SDK",
    "sdk": "Our SDK and the public SDK, both at our agent",
}


class NoPlaceError(CannotGoOnError):
    """The page has no place for the section; the message says what is missing."""


def write(document: Mapping[str, Any], page: Path = PAGE) -> None:
    """Put the section into `page`, in place of the one before, and the plot beside it.

    Raises:
        NoPlaceError: the marks that hold the section are not in the page.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlaceError(f"{page} has no lines '{BEGIN}' and '{END}': put them back.")
    page.write_text(f"{before}{BEGIN}\n\n{section(document)}\n{END}{after}")
    page.with_name(PICTURE).write_text(plot.svg(document))


def section(document: Mapping[str, Any]) -> str:
    """Return the section, in Markdown."""
    facts, versions = document["machine"], document["versions"]
    public = versions["public_agent"]
    how = " with `--quick`, which says little" if document["quick"] else ""
    lines = [
        f"Taken{how} on {document['made_at'][:10]} in {document['took_s']:.0f} s: "
        f"{facts['cores']} cores ({facts['processor']}), {facts['system']}, "
        f"Python {public['python']}, RabbitMQ {versions['rabbitmq']}, "
        f"`globus-compute-endpoint` {public['globus-compute-endpoint']} and "
        f"`globus-compute-sdk` {versions['public_sdk']['globus-compute-sdk']}, "
        f"Chamberlain {versions['ours']['chamberlain']} ({document['commit']}).",
    ]
    if facts["load_before"] > _QUIET * facts["cores"]:
        lines += [
            "",
            f"**The machine was not quiet** (load {facts['load_before']} before it began): "
            "the ratios say something, the figures little.",
        ]
    for compares, words in _SHARES.items():
        lines += [
            "",
            f"{words}:",
            "",
            "| what | ours | public | times better |",
            "|---|---|---|---|",
        ]
        for row in document["rows"]:
            if row["compares"] == compares:
                ours, theirs = (shown(row[side], row["unit"]) for side in Side)
                lines.append(f"| {row['title']} | {ours} | {theirs} | {row['ratio']:.2f} |")
    return "\n".join([*lines, "", f"![How many times better]({PICTURE})", ""])
