"""One render from beginning to end, in this process and without a leash.

The manager never calls it: `server.py` does, in a child. The offline command
`render-user-config` and tests may.
"""

from __future__ import annotations

from chamberlain_endpoint import rendered
from chamberlain_endpoint.manager.render.document import load_document
from chamberlain_endpoint.manager.render.job import Rendered, RenderJob, RenderRefusedError
from chamberlain_endpoint.manager.render.options import check_options
from chamberlain_endpoint.manager.render.taint import Written, refuse_foreign_text
from chamberlain_endpoint.manager.render.template import render_text
from chamberlain_wire.errors import ErrorCode


class InlineRenderer:
    """Keeps the promise of `job.Renderer`, but for the time: nothing stops an endless loop."""

    def render(self, job: RenderJob) -> Rendered:
        """See `job.Renderer.render`."""
        return render(job)


def render(job: RenderJob) -> Rendered:
    """Return the checked configuration: options, schema, template, YAML, configuration.

    Raises:
        RenderRefusedError: the first of these that says no.
    """
    check_options(job.options, job.json_schema)
    written = Written()
    text, deprecated = render_text(job, written)
    return Rendered(config=judged(job, text, written), deprecated=deprecated)


def judged(job: RenderJob, text: str, written: Written) -> str:
    """Return the checked configuration in `text`, which the template of `job` wrote, as JSON.

    Raises:
        RenderRefusedError: it is none, or a caller's text stands where it must not.
    """
    document = load_document(text)
    limits = (document, job.parent_config)
    limited = any(isinstance(one, dict) and one.get("allowed_functions") for one in limits)
    refuse_foreign_text(text, written, functions_limited=limited)
    try:
        config = rendered.parse(document)
    except rendered.ConfigInvalidError as error:
        raise RenderRefusedError(ErrorCode.CONFIG_INVALID, error.public) from None
    return rendered.to_json(config)
