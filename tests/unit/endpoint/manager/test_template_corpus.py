"""A slice of the corpus of hostile options; the whole is in tests/integration/manager."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.template_corpus import fits, run_in_shell, shell_texts
from tests.template_proof import Proof
from tests.template_samples import SAMPLES

_SEED = 20


def test_hostile_options_change_values_and_nothing_else(tmp_path: Path) -> None:
    Proof(SAMPLES, _SEED, tmp_path / "shell").run(2 * len(SAMPLES))


@pytest.mark.parametrize(
    ("document", "is_fit"),
    [
        ({"a": 1, "b": ["x"]}, True),
        ({"a": {"evil": 1}, "b": ["x"]}, False),
        ({"a": 1, "b": ["x"], "evil": 1}, False),
        ({"a": 1, "b": ["x", "evil"]}, False),
        ({"a": 1}, False),
    ],
)
def test_the_proof_sees_an_injected_key(document: object, is_fit: bool) -> None:
    assert fits(document, {"a": "word", "b": ["word"]}, {"!": "k0"}) is is_fit


@pytest.mark.parametrize("text", ["echo > X", "a $(echo > X)", "a; `echo > X`", "exit 3\necho > X"])
def test_the_proof_sees_an_executed_shell(text: str, tmp_path: Path) -> None:
    texts = list(shell_texts({"p": {"worker_init": text}}, {"p": {"worker_init": "word"}}))
    ran = run_in_shell(["exit 1", "if", *texts], tmp_path / "shell")
    assert ran is not text.startswith("exit")
