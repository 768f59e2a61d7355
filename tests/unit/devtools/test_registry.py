"""What a registry's refusal means, and what skopeo is told of who we are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devtools.image import registry
from devtools.image.registry import Access, RegistryError

TARGET = "registry.example.edu:5443/site/user-endpoint:1"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "--ca",
        ),
        ("x509: certificate is valid for a, not b", "another name"),
        ("x509: certificate has expired or is not yet valid", "expired"),
        ("http: server gave HTTP response to HTTPS client", "--plain-http"),
        ("unauthorized: authentication required", "--password-file"),
        ("dial tcp 10.0.0.1:5443: connect: connection refused", "cannot be reached"),
        ("level=info\nsomething else", "did not take the image: something else"),
        ("", "without a word"),
    ],
)
def test_a_refusal_becomes_one_sentence(said: str, told: str) -> None:
    sentence = registry.sentence(TARGET, said)
    assert sentence.startswith("registry.example.edu:5443")
    assert told in sentence
    assert "\n" not in sentence


def test_the_password_goes_by_file_and_never_by_argument(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret word\n")
    access = Access(user="builder", password_file=password)
    with registry.options(access, TARGET, None) as words:
        assert "secret word" not in " ".join(words)
        document = json.loads(Path(words[words.index("--authfile") + 1]).read_text())
    assert list(document["auths"]) == ["registry.example.edu:5443"]
    assert not Path(words[1]).exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "No such file"), ("", "is empty")],
)
def test_a_password_file_that_is_none_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)
    refused = registry.options(Access(user="builder", password_file=file), TARGET, None)
    with pytest.raises(RegistryError, match=told), refused:
        pass


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("hello\n")
    with (
        pytest.raises(RegistryError, match="no certificate"),
        registry.options(Access(ca=file), TARGET, None),
    ):
        pass
