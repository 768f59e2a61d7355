"""10,000 sets of hostile options over all sample templates, and a slice by the real server."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from tests.template_corpus import hostile
from tests.template_proof import SLOWEST_S, Proof, job
from tests.template_samples import SAMPLES

from chamberlain_endpoint.manager.render.client import RenderServer
from chamberlain_endpoint.manager.render.job import RenderRefusedError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", range(1, 5))
def test_no_key_is_injected_and_no_shell_is_run(seed: int, tmp_path: Path) -> None:
    proof = Proof(SAMPLES, seed, tmp_path / "shell")
    proof.run(2500)
    # A template that always says no would prove nothing.
    assert min(proof.rendered.values()) > 2500 // len(SAMPLES) // 2, proof.refusals
    assert sum(proof.rendered.values()) > 0.9 * 2500
    assert proof.slowest_s < SLOWEST_S


def test_the_render_server_answers_them_all() -> None:
    dice = random.Random(5)
    server = RenderServer()
    server.wake()
    try:
        first = server.pid
        for number in range(8 * len(SAMPLES)):
            sample = SAMPLES[number % len(SAMPLES)]
            began = time.monotonic()
            public = ""
            try:
                server.render(job(sample, hostile(dice, sample)))
            except RenderRefusedError as error:
                public = error.public
            assert "more time or memory" not in public, sample.name
            assert time.monotonic() - began < SLOWEST_S
        assert server.pid == first
    finally:
        server.close()
