from __future__ import annotations

import pytest

from chamberlain_endpoint.cli import hub
from chamberlain_endpoint.cli.errors import CommandFailedError

_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize("url", ["https://hub.example.edu", "http://127.0.0.1:5000/"])
def test_these_are_addresses_of_a_hub(url: str) -> None:
    assert hub.address_fault(url) is None


@pytest.mark.parametrize(
    "url", ["hub.example.edu", "ftp://hub", "https://hub/v2", "https://me@hub", "https://hub?x=1"]
)
def test_these_are_not(url: str) -> None:
    assert hub.address_fault(url) is not None


@pytest.mark.parametrize(
    ("url", "clear"),
    [("http://hub.example.edu", True), ("https://hub.example.edu", False), ("http://[::1]", False)],
)
def test_a_token_in_clear_is_noticed(url: str, clear: bool) -> None:
    assert hub.sends_secrets_in_clear(url) is clear


def test_a_key_file_is_what_key_show_prints() -> None:
    assert hub.keys_in(f"# the hub's\n{_KEY}  # {hub.fingerprint(_KEY)}\n\n") == [_KEY]


@pytest.mark.parametrize("text", ["", "# nothing\n", "AAAA\n", "not base64!\n"])
def test_a_file_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(CommandFailedError):
        hub.keys_in(text)


def test_a_fingerprint_tells_keys_apart() -> None:
    other = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert hub.fingerprint(_KEY) != hub.fingerprint(other)
    assert hub.fingerprint(_KEY).startswith("SHA256:")


def test_a_token_file_holds_one_token_and_a_refusal_does_not_show_it() -> None:
    assert hub.one_token(" chp_secret\n") == "chp_secret"
    for text in ("", "\n", "chp_secret another", "chp_secret\x00", "chp_sécret", "x" * 9000):
        with pytest.raises(CommandFailedError) as caught:
            hub.one_token(text)
        assert caught.value.args[0] == "The token file must hold one token, and nothing else."


def test_a_key_file_that_is_no_text_is_no_key() -> None:
    with pytest.raises(CommandFailedError, match="is not a public key"):
        hub.keys_in(b"\x97\xff".decode(errors="replace"))
