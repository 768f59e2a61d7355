"""What `configure` must know of the hub: its public keys, and who the token's owner is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import pwd
import re
from typing import Any
from urllib.parse import urlsplit

from chamberlain_endpoint.cli.accounts import run_as
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import IdentityId, parse_identity_id

_KEY_BYTES = 32
_NOT_FOUND = 404
_MAX_TOKEN_CHARS = 8192
_TOKEN = re.compile(r"[!-~]+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def address_fault(url: str) -> str | None:
    """Return why `url` cannot be a hub's address, or None when it can."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is not an address such as https://hub.example.edu"
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        return "must be an address without a path, user or question mark"
    return None


def sends_secrets_in_clear(url: str) -> bool:
    """Tell whether tokens would cross a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def fetch_keys(url: str, account: pwd.struct_passwd | None) -> list[str]:
    """Return the hub's public keys, as base64, asked for by a child that runs as `account`.

    Raises:
        CommandFailedError: no answer, or no keys in it.
    """
    answer = _ask(account, {"url": f"{url}/v3/assertion_keys"})
    if "error" in answer:
        raise CommandFailedError(
            f"The hub's keys could not be fetched from {url}: {answer['error']}. Is the hub "
            f"running? Its keys can also be given with --hub-key-file."
        )
    keys = answer.get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise CommandFailedError(f"{url} is no Chamberlain hub: its answer has no keys.")
    return [checked_key(key) for key in keys]


def owner(url: str, token: str, account: pwd.struct_passwd | None) -> IdentityId:
    """Return whose token it is.

    Raises:
        CommandFailedError: the hub does not know it, or does not answer.
    """
    answer = person(url, token, account)
    try:
        return parse_identity_id(str(answer.get("sub")))
    except InvalidIdError:
        raise CommandFailedError(f"{url} did not say whose token it is.") from None


def person(url: str, token: str, account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return what the hub says of the token's owner: `sub`, `preferred_username`, `name`,
    `email`, `identity_set`.

    Raises:
        CommandFailedError: the hub does not know it, or does not answer.
    """
    answer = _ask(account, {"url": f"{url}/v2/oauth2/userinfo", "token": token})
    if answer.get("status") in (401, 403):
        raise CommandFailedError(f"{url} does not accept the token: {answer['error']}.")
    if "error" in answer:
        raise CommandFailedError(f"{url} could not be asked whose token it is: {answer['error']}.")
    return answer


def delete_endpoint(
    url: str, token: str, endpoint_id: str, account: pwd.struct_passwd | None
) -> bool:
    """Have the hub forget an endpoint; return whether it knew it.

    Raises:
        CommandFailedError: it does not answer, or the token is not the owner's.
    """
    where = f"{url}/v2/endpoints/{endpoint_id}"
    answer = _ask(account, {"url": where, "token": token, "method": "DELETE"})
    if answer.get("status") == _NOT_FOUND:
        return False
    if "error" in answer:
        raise CommandFailedError(f"{url} did not delete the endpoint: {answer['error']}.")
    return True


def lock_endpoint(url: str, token: str, endpoint_id: str, account: pwd.struct_passwd | None) -> str:
    """Have the hub cut an endpoint off; return until when (ISO 8601) it may not come back.

    Raises:
        CommandFailedError: the hub does not know it or does not answer, or the token is neither
            its owner's nor an admin's.
    """
    where = f"{url}/v3/endpoints/{endpoint_id}/lock"
    answer = _ask(account, {"url": where, "token": token, "method": "POST"})
    if answer.get("status") == _NOT_FOUND:
        raise CommandFailedError(f"{url} knows no endpoint {endpoint_id}: nothing was stopped.")
    until = answer.get("lock_expiration_timestamp")
    if "error" in answer or not isinstance(until, str):
        why = answer.get("error", "it did not say until when")
        raise CommandFailedError(f"{url} did not lock the endpoint: {why}. Nothing was stopped.")
    return until


def function(
    url: str, token: str, function_id: str, account: pwd.struct_passwd | None
) -> dict[str, Any]:
    """Return a function as the hub describes it, with its code.

    Raises:
        CommandFailedError: there is none, it is somebody else's, or the hub does not answer.
    """
    answer = _ask(account, {"url": f"{url}/v2/functions/{function_id}", "token": token})
    if answer.get("status") == _NOT_FOUND:
        raise CommandFailedError(
            f"{url} shows no function {function_id} to the owner of this endpoint's token: it "
            "must be that person's own, or public."
        )
    if "error" in answer or not isinstance(answer.get("function_code"), str):
        raise CommandFailedError(
            f"{url} did not show function {function_id}: {answer.get('error', 'no code came')}."
        )
    return answer


def health(url: str, account: pwd.struct_passwd | None) -> tuple[str, str]:
    """Return why the hub at `url` does not answer (empty: it does), and the `Date` it gave."""
    answer = _ask(account, {"url": f"{url}/v3/assertion_keys"})
    return str(answer.get("error", "")), str(answer.get("date", ""))


def endpoint_status(
    url: str, token: str, endpoint_id: str, account: pwd.struct_passwd | None
) -> str:
    """Return `online` or `offline` as the hub says of an endpoint; else why it does not say."""
    answer = _ask(account, {"url": f"{url}/v2/endpoints/{endpoint_id}/status", "token": token})
    if answer.get("status") == _NOT_FOUND:
        return "not registered"
    return str(answer.get("error") or answer.get("status"))


def broker(url: str, token: str, account: pwd.struct_passwd | None) -> tuple[str, str]:
    """Return the broker's address, and why it cannot be reached (empty: it can)."""
    question = {"url": url, "token": token}
    answer = _ask(account, question, "chamberlain_endpoint.cli.ask_broker")
    return str(answer.get("broker", "")), str(answer.get("error", ""))


def keys_in(text: str) -> list[str]:
    """Return the public keys in a key file: one base64 text a line, `#` begins a comment.

    Raises:
        CommandFailedError: there is none, or one is not a key.
    """
    lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    keys = [checked_key(line) for line in lines if line]
    if not keys:
        raise CommandFailedError("The key file holds no key (`chamberlain-hub key show` prints it)")
    return keys


def checked_key(text: str) -> str:
    """Return `text`, which is the base64 form of an Ed25519 public key.

    Raises:
        CommandFailedError: it is not.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise CommandFailedError(f"{text[:60]!r} is not a public key: base64 of 32 bytes is.")
    return text


def one_token(text: str) -> str:
    """Return the one token in `text`.

    Raises:
        CommandFailedError: there is none, or more than one word, or letters that no token has.
    """
    token = text.strip()
    # What cannot stand in a header would be told, token and all, by whoever sends it.
    if len(token) > _MAX_TOKEN_CHARS or _TOKEN.fullmatch(token) is None:
        raise CommandFailedError("The token file must hold one token, and nothing else.")
    return token


def fingerprint(key: str) -> str:
    """Return the short form of a key that two people can compare."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _ask(
    account: pwd.struct_passwd | None,
    question: dict[str, str],
    module: str = "chamberlain_endpoint.cli.ask_hub",
) -> dict[str, Any]:
    done = run_as(account, ["-m", module], json.dumps(question))
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-300:] or f"the child ended with {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
