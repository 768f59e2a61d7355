"""The reference of template keys is what the models say."""

from __future__ import annotations

from devtools.template_reference import PAGE, page


def test_the_page_is_what_the_models_say() -> None:
    again = "run: python -m devtools.template_reference docs/reference/template-keys.md"
    assert PAGE.read_text() == page(), again


def test_every_key_is_explained() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []
