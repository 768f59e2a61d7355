from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert f"_CHAMBERLAIN_ENDPOINT_COMPLETE={shell}_complete" in ran.out
    assert run("completion", shell, "--json").document["shell"] == shell


def test_another_shell_makes_no_sense(run: Run) -> None:
    assert run("completion", "tcsh").code == 2


def test_bash_completes_commands_and_options(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run("completion", "bash").out)
    folder = Path(sys.executable).parent
    typed = (
        f". {script}; PATH={folder}:$PATH\n"
        "COMP_WORDS=(chamberlain-endpoint check); COMP_CWORD=1\n"
        "_chamberlain_endpoint_completion chamberlain-endpoint check; echo ${COMPREPLY[@]}\n"
        "COMPREPLY=(); COMP_WORDS=(chamberlain-endpoint lint --t); COMP_CWORD=2\n"
        "_chamberlain_endpoint_completion chamberlain-endpoint --t; echo ${COMPREPLY[@]}\n"
    )
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["check-config", "--template"]
