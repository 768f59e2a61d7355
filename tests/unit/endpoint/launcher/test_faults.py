"""An engine's words become one sentence for the user and one for the administrator."""

from __future__ import annotations

import errno

import pytest

from chamberlain_endpoint.launcher.runtime import faults


@pytest.mark.parametrize(
    ("text", "word"),
    [
        # crun, and runc, when user.max_user_namespaces is 0: the kernel's errno is ENOSPC.
        ("crun: clone: No space left on device: OCI runtime error", "no_user_namespace"),
        ("fork/exec /proc/self/exe: no space left on device", "no_user_namespace"),
        ("crun: writing file `/proc/9/gid_map`: Invalid argument", "no_user_namespace"),
        ("write /var/lib/containers/x: no space left on device", "no_space"),
        ("No such image: sha256:0", "no_image"),
        ("unable to find network with name or ID x: network not found", "no_network"),
        ("failed to set up container networking: network x not found", "no_network"),
        ("something else", "engine"),
    ],
)
def test_the_engines_words_are_understood(text: str, word: str) -> None:
    fault = faults.of_text(500, text)
    assert fault.word == word
    assert text in str(fault)
    assert text not in fault.public


def test_a_full_disk_is_known_by_its_number() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(faults.of_os_error("a start", full), faults.NoSpaceError)
    other = faults.of_os_error("a start", OSError(errno.EIO, "Input/output error"))
    assert other.word == "engine"


@pytest.mark.parametrize("kind", faults.EngineError.__subclasses__())
def test_every_fault_comes_back_from_another_process_as_it_was(
    kind: type[faults.EngineError],
) -> None:
    back = faults.by_word(kind.word, "detail")
    assert type(back) is kind
    assert back.remedy
    assert back.public
