"""House rules that no linter knows: module size, one version, no local paths."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MAX_LINES: Final = 400

_MADE: Final = frozenset(
    {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "build", "dist"}
)

# Written with character classes, so that this file does not contain what it looks for.
_PATTERNS: Final = (
    (
        "names a package registry's host",
        re.compile(
            r"pypi[.]org|pythonhosted[.]org|npmjs[.]org|deb[.]debian[.]org|crates[.]io"
            r"|proxy[.]golang|[a-z]*hub[.]docker[.]com|security[.]debian[.]org"
        ),
    ),
    (
        "holds an absolute path of a developer's machine",
        re.compile(
            r"(?<![\w.])/wor[k]/|/root/[.]p[y]env|/tmp/v[0-9]|/home/(?!<)[a-z]+/chamberlain"
        ),
    ),
)
_SECOND_VERSION: Final = re.compile(r"^__version__\s*=\s*[\"']", re.MULTILINE)
_TODO: Final = re.compile(r"#\s*(TODO|FIXME|XXX)\b(?!.*#\d)")


def tracked_files(root: Path) -> list[Path]:
    """Return the files that are, or would be, in the repository.

    Where there is no git, or no repository (an unpacked archive): all but what we make.
    """
    try:
        listed = subprocess.run(
            # A clone of another account's, such as a CI's, is no danger to `ls-files`.
            ["git", "-c", f"safe.directory={root}", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*") if not _MADE & set(path.parts)]
    else:
        paths = [root / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]


def faults(root: Path, files: Iterable[Path]) -> Iterator[str]:
    """Yield one sentence for each rule that a file breaks."""
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        yield from text_faults(str(path.relative_to(root)), text)


def text_faults(name: str, text: str) -> Iterator[str]:
    """Yield one sentence for each rule that `text`, the content of file `name`, breaks."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for what, pattern in _PATTERNS:
            if pattern.search(line):
                yield f"{name}:{number}: {what}"
        if name.endswith(".py") and _TODO.search(line):
            yield f"{name}:{number}: a TODO without an issue number"
    if not name.endswith(".py"):
        return
    if len(lines) > MAX_LINES:
        yield f"{name}: {len(lines)} lines; the cap is {MAX_LINES}. Split it by topic."
    if _SECOND_VERSION.search(text):
        yield f"{name}: the version stands in pyproject.toml and nowhere else"
