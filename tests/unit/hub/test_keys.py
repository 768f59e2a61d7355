"""The signing key is made once, for the hub alone, and never replaced; assertions hold."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.identity import Identity, Principal
from chamberlain_hub.identity import assertions
from chamberlain_hub.identity.keys import (
    SigningKeyError,
    fingerprint,
    load_or_make_signing_key,
    public_keys_b64,
)
from chamberlain_wire.assertion import check_addressed, open_signed, request_digest
from chamberlain_wire.ids import EndpointId, IdentityId, new_id


def test_a_key_is_made_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = public_keys_b64(load_or_make_signing_key(path))
    assert public_keys_b64(load_or_make_signing_key(path)) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]
    assert fingerprint(first[0]).startswith("SHA256:")


def test_hubs_that_start_at_once_use_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: public_keys_b64(load_or_make_signing_key(path)), range(4)))
    assert len({key for (key,) in keys}) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_key_that_others_may_touch_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    load_or_make_signing_key(path)
    path.chmod(mode)
    with pytest.raises(SigningKeyError) as caught:
        load_or_make_signing_key(path)
    assert f"chmod 600 {path}" in caught.value.public


@pytest.mark.needs_root
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    load_or_make_signing_key(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(SigningKeyError) as caught:
        load_or_make_signing_key(path)
    assert "65534" in caught.value.public


def test_another_kind_of_key_or_rubbish_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    other = generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for content in (b"", b"rubbish", other):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(SigningKeyError):
            load_or_make_signing_key(path)
        assert path.read_bytes() == content


def test_a_link_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    load_or_make_signing_key(tmp_path / "real.pem")
    (tmp_path / "key.pem").symlink_to(tmp_path / "real.pem")
    with pytest.raises(SigningKeyError):
        load_or_make_signing_key(tmp_path / "key.pem")


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError) as caught:
        load_or_make_signing_key(tmp_path / "absent" / "key.pem")
    assert "cannot be made: No such file" in caught.value.public


def test_an_assertion_names_the_caller_and_is_bound_to_the_request(tmp_path: Path) -> None:
    key = load_or_make_signing_key(tmp_path / "key.pem")
    me, other = (
        Identity(IdentityId(new_id()), "person", f"{name}@example.edu", last_authentication=5.5)
        for name in ("alice", "alice2")
    )
    uep = UserEndpoint(
        EndpointId(new_id()), EndpointId(new_id()), me.id, {"nodes": 2}, {"python_version": "3"}
    )
    made, signed = assertions.make(
        key, Principal(me, (me, other), "token"), uep, source="192.0.2.7", now=1000.0
    )
    opened = open_signed(signed, [key.public_key()])
    assert opened == made
    check_addressed(opened, endpoint=uep.endpoint, now=1000.0)
    assert (opened.identity, opened.username) == (me.id, me.username)
    assert [entry.id for entry in opened.identities] == [me.id, other.id]
    assert opened.identities[0].last_authentication == 5
    assert opened.request_digest == request_digest(uep.options, uep.runtime)
    assert (opened.user_endpoint, opened.source) == (uep.id, "192.0.2.7")


def test_two_assertions_are_never_the_same(tmp_path: Path) -> None:
    key = load_or_make_signing_key(tmp_path / "key.pem")
    me = Identity(IdentityId(new_id()), "person", "alice@example.edu")
    uep = UserEndpoint(EndpointId(new_id()), EndpointId(new_id()), me.id)
    principal = Principal(me, (me,), "token")
    ids = {assertions.make(key, principal, uep, source="", now=1000.0)[0].id for _ in range(3)}
    assert len(ids) == 3
