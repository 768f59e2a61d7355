"""What OAuth2 requests carry: a form, a client id and its secret; and what refuses them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Request
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 64
_NOT_KEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """A refusal in the form of RFC 6749, section 5.2.

    Attributes:
        error: the word of the RFC.
        text: what to do.
        status: the HTTP status.
    """

    def __init__(
        self,
        error: str,
        text: str,
        status: int = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{error}: {text}")
        self.error = error
        self.text = text
        self.status = status
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """Return the answer; `code` and `message` are where the public clients look."""
        return private_answer(
            {
                "error": self.error,
                "error_description": self.text,
                "code": self.error,
                "message": self.text,
            },
            self.status,
            self.headers,
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a program says it is, and how it wants to prove it.

    Attributes:
        secret: empty: it gave none.
    """

    client_id: str
    secret: str

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Credentials({self.client_id!r}, ***)"


def private_answer(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer that nothing on the way may keep."""
    return json_answer(document, status, {**_NOT_KEPT, **(headers or {})})


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of the request's body.

    Raises:
        OAuthError: it is no form, too large, or has a field twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise OAuthError("invalid_request", f"The body must be a form: Content-Type: {_FORM}.")
    body = await request.body()
    if len(body) > _MAX_FORM_BYTES:
        raise OAuthError("invalid_request", f"The form is larger than {_MAX_FORM_BYTES} bytes.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise OAuthError("invalid_request", "A field of the form is there twice.")
    return fields


def credentials(request: Request, form: Mapping[str, str]) -> Credentials | None:
    """Return the client id and the secret that the request carries; None: it has no secret.

    Raises:
        OAuthError: they cannot be read, or are there twice.
    """
    basic = _basic(request)
    secret = form.get("client_secret", "")
    if basic is not None:
        if secret:
            raise OAuthError(
                "invalid_request", "Send the secret once: in the header or in the form."
            )
        return basic
    return Credentials(form.get("client_id", ""), secret) if secret else None


def _basic(request: Request) -> Credentials | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthError("invalid_request", "The Authorization header cannot be read.") from None
    client_id, _, secret = text.partition(":")
    return Credentials(unquote_plus(client_id), unquote_plus(secret))
