"""The comparison with the public packages, in its short form. No figure is judged."""

from __future__ import annotations

import json
import math
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.peer import page
from bench.peer.plan import QUICK, Side, rows
from devtools.paths import PYTHON, ROOT
from devtools.programs import Programs

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.needs_root, pytest.mark.slow]
pytestmark.append(pytest.mark.timeout(900))

SVG = "{http://www.w3.org/2000/svg}"


def command(public_folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYTHON, "-m", "bench.peer", "--quick", "--json", "--out", out],
        cwd=ROOT,
        env={**os.environ, "CHAMBERLAIN_DEMO_DIR": str(public_folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(public_folder: Path, process: subprocess.Popen[str]) -> list[str]:
    """What is left of it: its folder, its account, its processes."""
    found = [str(path) for path in (public_folder / "peer",) if path.exists()]
    found += [one.pw_name for one in pwd.getpwall() if one.pw_name == f"chpeer{process.pid}"]
    below = str(public_folder / "peer").encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended
        if below in told:
            found.append(f"process {entry.name}")
    return found


@dataclass(frozen=True)
class Done:
    """Where it wrote, what it printed, and the process that it was."""

    out: Path
    said: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def done(public_folder: Path, programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One short run; what it would install is there already."""
    assert programs.folder == public_folder / "venv"
    folder = tmp_path_factory.mktemp("peer")
    process = command(public_folder, folder)
    try:
        said, complaints = process.communicate(timeout=600)
    finally:
        process.terminate()
        process.wait()
    assert process.returncode == 0, complaints
    return Done(folder, said, process)


@pytest.fixture(scope="module")
def document(done: Done) -> Mapping[str, Any]:
    return dict(json.loads((done.out / "peer.json").read_text()))


def test_every_row_has_the_figures_of_both_sides_and_their_ratio(
    document: Mapping[str, Any], done: Done
) -> None:
    assert json.loads(done.said) == document
    assert [row["name"] for row in document["rows"]] == [row.name for row in rows(QUICK)]
    for row in document["rows"]:
        ours, public = (row[side] for side in Side)
        better = ours / public if row["more_is_better"] else public / ours
        assert row["ratio"] == pytest.approx(better, rel=0.01)
        assert ours > 0
        assert public > 0
        assert all(len(row["each_turn"][side]) == QUICK.rounds for side in Side)


def test_it_says_what_was_compared_and_on_what(document: Mapping[str, Any]) -> None:
    versions, machine = document["versions"], document["machine"]
    assert "chamberlain" in versions["ours"]
    assert "globus-compute-endpoint" in versions["public_agent"]
    assert "globus-compute-sdk" in versions["public_sdk"]
    assert re.match(r"\d+\.", versions["rabbitmq"])
    assert machine["cores"] == os.cpu_count()
    assert machine.keys() >= {"processor", "memory_mb", "system", "kernel", "load_before"}
    assert document["quick"] is True


def test_the_plot_has_a_bar_for_each_row(document: Mapping[str, Any], done: Done) -> None:
    plot = ElementTree.fromstring((done.out / "peer.svg").read_text())
    ground, *bars = plot.findall(f"{SVG}rect")
    texts = [text.text for text in plot.findall(f"{SVG}text")]
    assert len(bars) == len(document["rows"])
    assert {row["title"] for row in document["rows"]} <= set(texts)
    for bar in bars:
        x, width = float(bar.attrib["x"]), float(bar.attrib["width"])
        assert math.isfinite(x)
        assert 0 <= x < x + width <= float(ground.attrib["width"])


def test_the_page_takes_the_figures_in_place_of_those_before(
    document: Mapping[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / page.PAGE.name
    shutil.copy(page.PAGE, copy)
    page.write(document, copy)
    once = copy.read_text()
    page.write(document, copy)
    assert copy.read_text() == once
    assert all(f"| {row['title']} |" in once for row in document["rows"])
    before = page.PAGE.read_text()
    assert once.partition(page.BEGIN)[0] == before.partition(page.BEGIN)[0]
    assert once.partition(page.END)[2] == before.partition(page.END)[2]
    assert (tmp_path / page.PICTURE).exists()


def test_nothing_is_left(done: Done, public_folder: Path) -> None:
    assert left(public_folder, done.process) == []


def test_nothing_is_left_when_it_is_interrupted(
    public_folder: Path, programs: Programs, tmp_path: Path
) -> None:
    process = command(public_folder, tmp_path / "out")
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "memory with one user endpoint" in line:
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.readlines()
        assert process.wait(120) == 1, "".join(said)
    finally:
        process.kill()
        process.communicate()
    assert left(public_folder, process) == []
    assert not (tmp_path / "out").exists()
