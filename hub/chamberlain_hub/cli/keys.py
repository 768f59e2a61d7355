"""`chamberlain-hub key`: the key that endpoints believe, and how it is exchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chamberlain_hub.cli.frame import json_option, open_audit, say, settings_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@click.group()
def key() -> None:
    """The key with which the hub signs who asks.

    \b
    For a new one, without a moment in which endpoints refuse:
      chamberlain-hub key prepare; systemctl reload chamberlain-hub
      chamberlain-endpoint trust NAME --hub-key-file FILE   (on each endpoint's host)
      chamberlain-hub key switch; systemctl reload chamberlain-hub
      chamberlain-endpoint trust NAME --hub-key-file FILE   (again: the new one alone)
    """


@key.command("show")
@json_option
@click.pass_obj
def key_show(config: Path | None, as_json: bool) -> None:
    """Show the public key and its fingerprint, to compare where endpoints are configured.

    A key that was prepared comes after it.

    \b
    On the endpoint's host:
      chamberlain-endpoint configure NAME --hub-key-file FILE
    """
    from chamberlain_hub.identity.keys import load_signing_keys

    _show(load_signing_keys(_folder(config)), as_json=as_json)


@key.command("prepare")
@json_option
@click.pass_obj
def key_prepare(config: Path | None, as_json: bool) -> None:
    """Make the key that is to follow, and show both. It signs nothing yet.

    Reload the hub, which then shows both to endpoints that register. A second run makes no
    other key.
    """
    from chamberlain_hub.identity.keys import load_signing_keys, prepare_next

    folder = _folder(config)
    load_signing_keys(folder)
    with open_audit(config) as note:
        note("key-prepared", about=_fingerprint(prepare_next(folder)))
    _show(load_signing_keys(folder), as_json=as_json)
    click.echo("Next: reload the hub, and give endpoints both keys.", err=True)


@key.command("switch")
@json_option
@click.pass_obj
def key_switch(config: Path | None, as_json: bool) -> None:
    """Sign with the prepared key from the hub's next reload on. The old one is removed.

    Endpoints that were not given the new key refuse everything from then on. Reload the hub
    at once: until then it signs with the key that it has in memory.
    """
    from chamberlain_hub.identity.keys import load_signing_keys, switch_to_next

    folder = _folder(config)
    with open_audit(config) as note:
        note("key-switched", about=_fingerprint(switch_to_next(folder)))
    _show(load_signing_keys(folder), as_json=as_json)
    click.echo("Next: reload the hub.", err=True)


def _folder(config: Path | None) -> Path:
    from chamberlain_hub.store.data_dir import prepare_data_dir

    settings = settings_of(config)
    prepare_data_dir(settings.data_dir)
    return settings.data_dir


def _show(keys: tuple[Ed25519PrivateKey, ...], *, as_json: bool) -> None:
    from chamberlain_hub.identity.keys import fingerprint, public_keys_b64

    texts = public_keys_b64(*keys)
    say(
        {"keys": [{"key": text, "fingerprint": fingerprint(text)} for text in texts]},
        "\n".join(f"{text}  # {fingerprint(text)}" for text in texts),
        as_json=as_json,
    )


def _fingerprint(one: Ed25519PrivateKey) -> str:
    from chamberlain_hub.identity.keys import fingerprint, public_keys_b64

    return fingerprint(public_keys_b64(one)[0])
