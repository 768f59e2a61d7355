"""Which runtime, image and limits an account gets, and that a template gets it no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.launcher_builders import UEP, Hub, make_account, make_assertion, make_settings

from chamberlain_endpoint.launcher import choice, spec
from chamberlain_endpoint.launcher.protocol import Admitted, Launch
from chamberlain_endpoint.launcher.settings import Limits, RuntimeKind, RuntimeSettings

PROCESS, CONTAINER = RuntimeKind.PROCESS, RuntimeKind.CONTAINER
ALICE = make_account("alice", 1001, (1001, "alice"), (50, "staff"), (60, "gpu"))
BOB = make_account("bob", 1002)
SITE = RuntimeSettings(
    kind=CONTAINER,
    images=(("usual", "sha256:1"), ("big", "sha256:2"), ("gpu", "sha256:3")),
    image="usual",
    group_kinds=(("gpu", (CONTAINER, PROCESS)), ("staff", (PROCESS,))),
    group_images=(("gpu", ("gpu", "big")),),
    group_limits=(("staff", Limits(pids=64)),),
)


def test_who_has_no_entry_gets_what_holds_for_all() -> None:
    assert choice.kinds_of(SITE, BOB) == (CONTAINER,)
    assert choice.images_of(SITE, BOB) == ("usual", "big", "gpu")
    assert choice.limits_of(SITE, BOB) == Limits()


def test_the_first_group_in_the_file_counts_and_not_the_first_of_the_account() -> None:
    assert choice.kinds_of(SITE, ALICE) == (CONTAINER, PROCESS)
    assert choice.images_of(SITE, ALICE) == ("gpu", "big")
    assert choice.limits_of(SITE, ALICE).pids == 64


def test_the_accounts_own_entry_takes_the_place_of_its_groups() -> None:
    own = RuntimeSettings(
        group_kinds=(("staff", (CONTAINER, PROCESS)),), account_kinds=(("alice", (CONTAINER,)),)
    )
    assert choice.kinds_of(own, ALICE) == (CONTAINER,)
    assert own.kinds == {PROCESS, CONTAINER}


@pytest.mark.parametrize(
    ("wanted", "account", "found"),
    [
        ("", ALICE, CONTAINER),
        ("process", ALICE, PROCESS),
        ("container", ALICE, CONTAINER),
        ("", BOB, CONTAINER),
        ("process", BOB, None),
        ("vm", ALICE, None),
    ],
)
def test_a_template_chooses_among_what_is_permitted(
    wanted: str, account: object, found: RuntimeKind | None
) -> None:
    if found is not None:
        assert choice.kind_for(SITE, account, wanted) is found  # type: ignore[arg-type]
        return
    with pytest.raises(choice.ChoiceRefusedError) as caught:
        choice.kind_for(SITE, account, wanted)  # type: ignore[arg-type]
    assert repr(wanted) in caught.value.public
    assert "container" in caught.value.public


def test_an_image_that_is_not_the_groups_is_refused_though_the_site_has_it() -> None:
    assert choice.image_for(SITE, ALICE, "") == "gpu"
    assert choice.image_for(SITE, BOB, "usual") == "usual"
    with pytest.raises(choice.ChoiceRefusedError) as caught:
        choice.image_for(SITE, ALICE, "usual")
    assert "gpu, big" in caught.value.public


@pytest.mark.parametrize(
    ("if_unavailable", "own", "may"),
    [
        (None, (), False),
        (None, (CONTAINER, PROCESS), False),
        (PROCESS, (), True),
        (PROCESS, (CONTAINER, PROCESS), True),
        # An entry that lists no process is a refusal of it.
        (PROCESS, (CONTAINER,), False),
    ],
)
def test_a_process_in_place_of_a_container_is_the_sites_choice(
    if_unavailable: RuntimeKind | None, own: tuple[RuntimeKind, ...], may: bool
) -> None:
    entries = (("bob", own),) if own else ()
    site = RuntimeSettings(kind=CONTAINER, account_kinds=entries, if_unavailable=if_unavailable)
    assert choice.may_fall_back(site, BOB) is may


def _built(tmp_path: Path, account: object, **config: object) -> spec.LaunchSpec:
    settings = make_settings(tmp_path, Hub(), runtime=SITE)
    launch = Launch(
        assertion="",
        user_endpoint=UEP,
        config=json.dumps(config),
        credentials="{}",
        environment={},
    )
    admitted = Admitted(account=account, identity="", username="", rule="")  # type: ignore[arg-type]
    return spec.build(settings, launch, make_assertion(), admitted)


def test_a_container_is_told_its_lease_and_its_image_and_a_process_is_not(tmp_path: Path) -> None:
    in_container = _built(tmp_path, ALICE)
    assert (in_container.runtime, in_container.image) == (CONTAINER, "gpu")
    assert json.loads(in_container.first_line)["lease_file"] == spec.LEASE_FILE
    assert in_container.environment["CHAMBERLAIN_IMAGE"] == str(SITE.root_of("gpu"))
    process = _built(tmp_path, ALICE, runtime="process", container_image="usual")
    assert (process.runtime, process.image) == (PROCESS, "")
    assert json.loads(process.first_line)["lease_file"] == ""
    assert "CHAMBERLAIN_IMAGE" not in process.environment


@pytest.mark.parametrize("name", ["runtime", "container_image"])
def test_what_is_no_text_is_refused_for_the_right_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(spec.LaunchRefusedError, match=name):
        _built(tmp_path, ALICE, **{name: ["process"]})
