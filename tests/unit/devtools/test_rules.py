from __future__ import annotations

import pytest

from devtools import rules


def _faults(name: str, text: str) -> list[str]:
    return list(rules.text_faults(name, text))


def test_a_module_at_the_cap_passes_and_one_line_more_does_not() -> None:
    assert _faults("a.py", "x = 1\n" * rules.MAX_LINES) == []
    (fault,) = _faults("a.py", "x = 1\n" * (rules.MAX_LINES + 1))
    assert "401 lines" in fault


def test_only_python_modules_have_a_cap() -> None:
    assert _faults("CHANGELOG.md", "line\n" * 1000) == []


@pytest.mark.parametrize(
    "line",
    [
        "https://" + "pypi" + ".org/simple",
        "deb http://" + "deb.debian" + ".org/debian bookworm main",
        "see /" + "work/shared/STYLE.md",
        "/root/" + ".pyenv/bin/python",
    ],
)
def test_registry_hosts_and_local_paths_are_named_with_their_line(line: str) -> None:
    (fault,) = _faults("docs/a.md", f"fine\n{line}\n")
    assert fault.startswith("docs/a.md:2: ")


def test_words_that_only_look_alike_pass() -> None:
    assert _faults("a.md", "/srv/work/data and network/ and homework/\n") == []


def test_the_version_stands_in_one_place() -> None:
    assert len(_faults("a.py", '__version__ = "1.0"\n')) == 1


def test_a_todo_needs_an_issue_number() -> None:
    assert len(_faults("a.py", "# " + "TODO later\n")) == 1
    assert _faults("a.py", "# " + "TODO #12 later\n") == []
