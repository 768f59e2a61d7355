"""What a render is asked and what it answers. Sent by the manager to a child, and back.

Both travel over a private socket pair as JSON; neither holds a credential.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from chamberlain_wire.errors import ChamberlainError, ErrorCode


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """The caller as a template sees it: `_GC.mapped_identity`.

    Attributes:
        identity: id of the identity that matched.
        groups: ids of all groups of the account.
    """

    identity: str
    uname: str
    uid: int
    gid: int
    groups: list[int]
    gecos: str
    shell: str
    dir: str


class RenderJob(msgspec.Struct, frozen=True, kw_only=True):
    """Make one user endpoint configuration.

    Attributes:
        options: the caller's `user_endpoint_config`.
        runtime: the caller's `user_runtime`.
        template: name of the template among `sources`.
        sources: name -> text of the template and of what it may include.
        json_schema: what `options` must satisfy; None: nothing.
        parent_config: `_GC.parent_config`.
        environment: `_GC.env`.
        allowed_functions: the endpoint's own list; whatever the template says, nothing else
            runs. None: no list.
    """

    options: dict[str, Any]
    runtime: dict[str, Any]
    template: str
    sources: dict[str, str]
    json_schema: dict[str, Any] | None
    who: Who
    parent_config: dict[str, Any]
    environment: dict[str, str]
    allowed_functions: tuple[str, ...] | None = None


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A render that worked.

    Attributes:
        config: the checked configuration, JSON text.
        deprecated: names that the template uses outside `_GC`.
    """

    config: str
    deprecated: list[str] = []


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A render that did not."""

    code: ErrorCode
    public: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the two."""

    rendered: Rendered | None = None
    refusal: Refusal | None = None


class RenderRefusedError(ChamberlainError):
    """There is no configuration for this request. Tell the caller `word` and `public`.

    Attributes:
        word: OPTIONS_REFUSED (the caller's options), TEMPLATE_FAILED or CONFIG_INVALID
            (the site's template, with these options).
    """

    def __init__(self, word: ErrorCode, public: str) -> None:
        super().__init__(f"{word}: {public}", public=public)
        self.word = word


class Renderer(Protocol):
    """Carries out render jobs. Thread-safe."""

    def render(self, job: RenderJob) -> Rendered:
        """Return the configuration within 5 s.

        Raises:
            RenderRefusedError: the options, the template or its outcome are not acceptable,
                or it took too much time or memory. The same again would fail again.
        """
