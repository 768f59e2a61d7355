"""The proof that options of a caller change values and nothing else, for `count` option sets."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Final

from tests.template_corpus import (
    Sample,
    fits,
    harmless_options,
    hostile,
    run_in_shell,
    shell_texts,
)

from chamberlain_endpoint.manager.render.document import load_document
from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.options import check_options
from chamberlain_endpoint.manager.render.template import render_text

SLOWEST_S: Final = 5.0
_EVIL: Final = "x\nevil: 1; $(echo > PWNED)"


def job(sample: Sample, options: dict[str, Any], text: str = _EVIL) -> RenderJob:
    """Return a job for `sample`; every field of account and runtime is `text`."""
    return RenderJob(
        options=options,
        runtime={
            "globus_compute_sdk_version": text,
            "python": {"version_tuple": [3, 11, text], "version": text},
        },
        template="t.j2",
        sources={"t.j2": sample.text, **sample.others},
        json_schema=None,
        who=Who(
            identity=text, uname=text, uid=1, gid=1, groups=[1], gecos=text, shell=text, dir=text
        ),
        parent_config={"display_name": "Cluster"},
        environment={"SITE": "here", "HOME": text, "USER": text, "LOGNAME": text},
    )


class Proof:
    """Goes through samples in turn, with options of one seed.

    Args:
        folder: a folder that shells may run in; it does not exist yet.
    """

    def __init__(self, samples: tuple[Sample, ...], seed: int, folder: Path) -> None:
        self._samples = samples
        self._dice = random.Random(seed)
        self._folder = folder
        self._shell: list[str] = []
        self._documents: dict[str, Any] = {}
        self.rendered = dict.fromkeys((sample.name for sample in samples), 0)
        self.refusals: dict[str, str] = {}
        self.slowest_s = 0.0

    def run(self, count: int) -> None:
        """Check `count` option sets, then run all shell texts that came of them.

        Raises:
            AssertionError: with the template and the options that broke it.
        """
        for number in range(count):
            sample = self._samples[number % len(self._samples)]
            self._one(sample, hostile(self._dice, sample))
        if run_in_shell(self._shell, self._folder / "all"):
            for number, text in enumerate(self._shell):
                assert not run_in_shell([text], self._folder / str(number)), text

    def _one(self, sample: Sample, options: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            check_options(options, None)
            document = load_document(render_text(job(sample, options))[0])
        except RenderRefusedError as error:
            # A clear no is a good answer; the proof counts that it is not the only one.
            self.refusals[sample.name] = error.public
            return
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        options_of_plain, words = harmless_options(options, sample)
        plain = self._plain(sample, options_of_plain)
        seen = (sample.name, options, document)
        assert fits(document, plain, words), seen
        if sample.exact:
            assert _at(document, sample.exact) == options[sample.exact.rpartition(".")[2]], seen
        if not sample.gives_shell:
            self._shell += shell_texts(document, plain)
        self.rendered[sample.name] += 1

    def _plain(self, sample: Sample, options: dict[str, Any]) -> Any:
        key = f"{sample.name} {options}"
        if key not in self._documents:
            text = render_text(job(sample, options, "word"))[0]
            self._documents[key] = load_document(text)
        return self._documents[key]


def _at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document
