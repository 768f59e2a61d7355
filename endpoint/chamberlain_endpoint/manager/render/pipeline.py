"""One render from beginning to end, in this process and without a leash.

The manager never calls it: `server.py` does, in a child. The offline command
`render-user-config` and tests may.
"""

from __future__ import annotations

import json

from chamberlain_endpoint import rendered
from chamberlain_endpoint.manager.render.document import load_document
from chamberlain_endpoint.manager.render.job import Rendered, RenderJob, RenderRefusedError
from chamberlain_endpoint.manager.render.options import check_options
from chamberlain_endpoint.manager.render.template import render_text
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.limits import MAX_RENDERED_CONFIG_BYTES


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
    text, deprecated = render_text(job)
    document = load_document(text)
    try:
        config = rendered.parse(document)
    except rendered.ConfigInvalidError as error:
        raise RenderRefusedError(ErrorCode.CONFIG_INVALID, error.public) from None
    config_json = json.dumps(config.model_dump(mode="json"), separators=(",", ":"))
    if len(config_json) > MAX_RENDERED_CONFIG_BYTES:
        raise RenderRefusedError(
            ErrorCode.CONFIG_INVALID,
            f"The rendered configuration has {len(config_json)} bytes; "
            f"the limit is {MAX_RENDERED_CONFIG_BYTES}.",
        )
    return Rendered(config=config_json, deprecated=deprecated)
