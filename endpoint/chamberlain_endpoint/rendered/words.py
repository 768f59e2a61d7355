"""What a text may hold that becomes part of a batch script, of a command, or of a pod. Pure.

Each kind is a list of what is let in; nothing is escaped or cut. A value that passes cannot
end the line, begin a directive, or mean anything to a shell, wherever Parsl writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

_LONGEST_CHARS: Final = 512


def _only(pattern: str, what: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) > _LONGEST_CHARS or compiled.fullmatch(text) is None:
            raise ValueError(f"{what}, not {text[:60]!r}")
        return text

    return check


def _empty_is_none(value: Any) -> Any:
    """Templates write `{{ account | default() }}`: nothing at all, or two quotes."""
    return None if value == "" else value


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be part of a text for a shell")
    return text


def _walltime(text: str) -> str:
    found = re.fullmatch(r"(\d{1,4}):([0-5]?\d):([0-5]?\d)", text)
    if found is None or int(found[1]) * 60 + int(found[2]) < 1:
        raise ValueError(
            "a time of a minute or more such as 01:30:00 (hours, minutes, seconds), "
            f"not {text[:60]!r}"
        )
    return text


def _job_id(text: str) -> str:
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from None
    if "id" not in compiled.groupindex:
        raise ValueError("needs a group named id, such as (?P<id>[0-9]+)")
    return text


Word = Annotated[
    str,
    AfterValidator(
        _only(
            r"[A-Za-z0-9_][A-Za-z0-9_.@%+=:/,-]*",
            "letters, digits and _.@%+=:/,- are possible, the first one a letter, digit or _",
        )
    ),
]
"""One word of a command line or a directive: an account, partition, queue, image."""

MaybeWord = Annotated[Word | None, BeforeValidator(_empty_is_none)]

Image = Annotated[
    str,
    AfterValidator(
        _only(
            r"[A-Za-z0-9_/][A-Za-z0-9_.@%+=:/,-]*",
            "an image's name or path of letters, digits and _.@%+=:/,- is possible",
        )
    ),
]

Expression = Annotated[
    Annotated[
        str,
        AfterValidator(
            _only(
                r"[A-Za-z0-9_(\[][A-Za-z0-9_.,:&|*()\[\]=@+/-]*",
                "letters, digits and _.,:&|*()[]=@+/- are possible",
            )
        ),
    ]
    | None,
    BeforeValidator(_empty_is_none),
]
"""A scheduler's expression without a space: a constraint, a list of resources."""

Options = Annotated[
    str,
    AfterValidator(
        _only(
            r"(?:[A-Za-z0-9_:][A-Za-z0-9_.:=,+@/-]*)?", "letters, digits and _.:=,+@/- are possible"
        )
    ),
]
"""What is put behind a resource request: `ngpus=4:system=x`."""

ClassAd = Annotated[
    str,
    AfterValidator(
        _only(
            r'[A-Za-z0-9_ .=!<>&|()"+*/%?:,-]*',
            'letters, digits, spaces and _.=!<>&|()"+*/%?:,- are possible',
        )
    ),
]
"""An expression of HTCondor, on one line."""

Folder = Annotated[
    str,
    AfterValidator(
        _only(
            r"[A-Za-z0-9_./~][A-Za-z0-9_./~@%+=:, -]*",
            "a path of letters, digits and _./~@%+=:,- is possible",
        )
    ),
]

AbsolutePath = Annotated[
    str,
    AfterValidator(_only(r"/[A-Za-z0-9_./@%+=:,-]*", "an absolute path without odd characters")),
]

Host = Annotated[
    str, AfterValidator(_only(r"[A-Za-z0-9:][A-Za-z0-9_.:%-]*", "an address or a host's name"))
]

DnsName = Annotated[
    str,
    AfterValidator(
        _only(
            r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?",
            "a name of small letters, digits, dots and hyphens",
        )
    ),
]
MaybeDnsName = Annotated[DnsName | None, BeforeValidator(_empty_is_none)]

Quantity = Annotated[
    str,
    AfterValidator(_only(r"\d+(?:\.\d+)?(?:m|[KMGTPE]i?)?", "an amount such as 500Mi, 4Gi or 0.5")),
]

Variable = Annotated[
    str, AfterValidator(_only(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a variable"))
]

PlainText = Annotated[
    str,
    AfterValidator(_only(r"[^\x00-\x1f\x7f\"$\\`]*", 'one line without "$`\\ is possible')),
]

Walltime = Annotated[str, AfterValidator(_walltime)]

JobIdPattern = Annotated[str, AfterValidator(_job_id)]

ShellText = Annotated[
    str, BeforeValidator(lambda value: "" if value is None else value), AfterValidator(_no_nul)
]
"""Text that a shell runs as the account. The renderer sees to it that it is the site's own."""

Accelerator = Annotated[
    str,
    AfterValidator(_only(r"[A-Za-z0-9_][A-Za-z0-9_.:,/ -]*", "the name of a device")),
]

LauncherOption = Annotated[
    str,
    AfterValidator(
        _only(
            r"-{1,2}[A-Za-z][A-Za-z0-9_-]*(?:[= ]\*)?",
            "an option such as --exclusive, --cpu-bind=* or '-bind-to *' is possible",
        )
    ),
]
"""An option of an MPI launcher; `*` stands for its value."""

Count = Annotated[int, Field(gt=0)]


def directives(prefix: str) -> Any:
    """Return the type of lines that must all be comments or directives beginning `prefix`.

    A command among them would end the directives: the scheduler would overlook the rest.
    """

    def check(text: str) -> str:
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                raise ValueError(
                    f"each line must begin with {prefix} (or be a comment), not "
                    f"{line.strip()[:60]!r}; what a shell should run belongs into worker_init"
                )
        return text

    return Annotated[
        str,
        BeforeValidator(lambda value: "" if value is None else value),
        AfterValidator(_no_nul),
        AfterValidator(check),
    ]
