"""The host's PAM stack, called through ctypes: account, credentials, session. No password.

Loaded by a keeper alone, and only where PAM is on: the launcher itself never calls a module,
so that one that hangs, leaks or crashes takes along no more than its own user endpoint. A
conversation answers no question; what modules say is collected for the administrator.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from chamberlain_wire.errors import ChamberlainError, ErrorCode

LIBRARY: Final = "libpam.so.0"

_SUCCESS: Final = 0
_CODES: Final = (
    "PAM_SUCCESS",
    "PAM_OPEN_ERR",
    "PAM_SYMBOL_ERR",
    "PAM_SERVICE_ERR",
    "PAM_SYSTEM_ERR",
    "PAM_BUF_ERR",
    "PAM_PERM_DENIED",
    "PAM_AUTH_ERR",
    "PAM_CRED_INSUFFICIENT",
    "PAM_AUTHINFO_UNAVAIL",
    "PAM_USER_UNKNOWN",
    "PAM_MAXTRIES",
    "PAM_NEW_AUTHTOK_REQD",
    "PAM_ACCT_EXPIRED",
    "PAM_SESSION_ERR",
    "PAM_CRED_UNAVAIL",
    "PAM_CRED_EXPIRED",
    "PAM_CRED_ERR",
    "PAM_NO_MODULE_DATA",
    "PAM_CONV_ERR",
    "PAM_AUTHTOK_ERR",
    "PAM_AUTHTOK_RECOVERY_ERR",
    "PAM_AUTHTOK_LOCK_BUSY",
    "PAM_AUTHTOK_DISABLE_AGING",
    "PAM_TRY_AGAIN",
    "PAM_IGNORE",
    "PAM_ABORT",
    "PAM_AUTHTOK_EXPIRED",
    "PAM_MODULE_UNKNOWN",
    "PAM_BAD_ITEM",
    "PAM_CONV_AGAIN",
    "PAM_INCOMPLETE",
)
_VERDICTS: Final = frozenset(
    {
        *("PAM_PERM_DENIED", "PAM_AUTH_ERR", "PAM_USER_UNKNOWN", "PAM_MAXTRIES"),
        *("PAM_NEW_AUTHTOK_REQD", "PAM_ACCT_EXPIRED", "PAM_AUTHTOK_EXPIRED"),
    }
)
"""Codes by which a site says no, unlike those that say that something is out of order."""

_BUF_ERR: Final = 5
_CONV_ERR: Final = 19
_TTY: Final = 3
_ESTABLISH_CRED: Final = 0x2
_DELETE_CRED: Final = 0x4
_DATA_SILENT: Final = 0x40000000
_ERROR_MSG: Final = 3
_TEXT_INFO: Final = 4
_TERMINAL: Final = b"chamberlain"

_MOST_TEXTS: Final = 4
_MOST_CHARS: Final = 200

_MOST_VARIABLES: Final = 200
_MOST_VALUE_CHARS: Final = 32 * 1024
_NEVER_TAKEN: Final = frozenset(
    {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "IFS", "ENV", "BASH_ENV", "GCONV_PATH"}
)
_NEVER_TAKEN_PREFIXES: Final = ("LD_", "PYTHON", "BASH_FUNC_", "CHAMBERLAIN_")


class PamError(ChamberlainError):
    """The site's PAM stack does not let the account in, or does not work. Start nothing.

    Attributes:
        word: what to tell the caller with `public`.
    """

    def __init__(self, detail: str, *, word: ErrorCode, public: str) -> None:
        super().__init__(detail, public=public)
        self.word = word


class _Said(NamedTuple):
    style: int
    text: str


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


_MESSAGES = ctypes.POINTER(ctypes.POINTER(_Message))
_CONVERSATION = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, _MESSAGES, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p
)


class _Conv(ctypes.Structure):
    _fields_ = (("function", _CONVERSATION), ("data", ctypes.c_void_p))


class Session:
    """One account's session, from `open` to `close`. Use it in one process and thread.

    Attributes:
        stage: the call that is under way, or was the last.
    """

    def __init__(self, service: str, user: str) -> None:
        self._service = service
        self._user = user
        self._handle = ctypes.c_void_p()
        self._said: list[_Said] = []
        self.stage = "pam_start"

    def open(self) -> dict[str, str]:
        """Ask whether the account may come in, open its session; return its environment.

        Raises:
            PamError: it may not, or a module failed. Nothing is left open.
        """
        try:
            self._pam = ctypes.CDLL(LIBRARY)
            self._c = ctypes.CDLL(None)
        except OSError as error:
            raise self._broken(str(error)) from error
        self._pam.pam_getenvlist.restype = ctypes.POINTER(ctypes.c_void_p)
        self._pam.pam_strerror.restype = ctypes.c_char_p
        self._c.calloc.restype = ctypes.c_void_p
        # Kept: PAM calls it for as long as the handle lives.
        self._conv = _Conv(_CONVERSATION(self._converse), None)
        started = self._pam.pam_start(
            self._service.encode(),
            self._user.encode(),
            ctypes.byref(self._conv),
            ctypes.byref(self._handle),
        )
        if started != _SUCCESS:
            raise self._refused(started)
        undo = []
        try:
            self._call("pam_set_item", _TTY, _TERMINAL)
            self._call("pam_acct_mgmt", 0)
            self._call("pam_setcred", _ESTABLISH_CRED)
            undo.append(("pam_setcred", _DELETE_CRED))
            self._call("pam_open_session", 0)
        except PamError:
            for name, flag in undo:
                getattr(self._pam, name)(self._handle, flag)
            self._pam.pam_end(self._handle, _SUCCESS)
            raise
        return self._environment()

    def close(self) -> str:
        """Close the session, whatever its modules say; return what failed, or an empty text."""
        faults = []
        self._said.clear()
        for name, flag in (("pam_close_session", 0), ("pam_setcred", _DELETE_CRED)):
            try:
                self._call(name, flag)
            except PamError as error:
                faults.append(str(error))
        self.stage = "pam_end"
        self._pam.pam_end(self._handle, _SUCCESS)
        return "; ".join(faults)

    def _call(self, name: str, *arguments: Any) -> None:
        self.stage = name
        code = getattr(self._pam, name)(self._handle, *arguments)
        if code != _SUCCESS:
            raise self._refused(code)

    def _converse(self, count: int, messages: Any, answers: Any, _: Any) -> int:
        """Take what modules say. Called by them; must not raise."""
        for each in range(count):
            message = messages[each].contents
            if message.style not in {_ERROR_MSG, _TEXT_INFO}:
                return _CONV_ERR  # a question: nobody is here to answer
            if len(self._said) < _MOST_TEXTS:
                text = (message.text or b"").decode(errors="replace")
                self._said.append(_Said(message.style, _plain(text)))
        # The modules free it, so it must come from the C library.
        empty = self._c.calloc(max(count, 1), 2 * ctypes.sizeof(ctypes.c_void_p))
        if not empty:
            return _BUF_ERR
        answers[0] = empty
        return _SUCCESS

    def _refused(self, code: int) -> PamError:
        word = _CODES[code] if 0 <= code < len(_CODES) else f"PAM error {code}"
        text = self._pam.pam_strerror(self._handle, code) or b""
        meaning = _plain(text.decode(errors="replace"))
        said = "; ".join(f'"{each.text}"' for each in self._said if each.text)
        more = f"; the modules say {said}" if said else "; no module says why, see the host's log"
        detail = f"PAM service {self._service}: {self.stage}: {word} ({meaning}){more}"
        if word not in _VERDICTS:
            return self._broken(detail)
        # PAM means its error texts for the one who logs in, as in /etc/nologin. The others
        # can be anything, and stay here.
        told = " ".join(each.text for each in self._said if each.style == _ERROR_MSG).strip()
        return PamError(
            detail,
            word=ErrorCode.ACCOUNT_REFUSED,
            public="The site does not let this account in now: "
            + (told or "ask its administrators for the reason."),
        )

    def _broken(self, detail: str) -> PamError:
        return PamError(
            detail,
            word=ErrorCode.START_FAILED,
            public="The site could not open a session for this account; its administrators' log "
            "has the cause.",
        )

    def _environment(self) -> dict[str, str]:
        self.stage = "pam_getenvlist"
        found = self._pam.pam_getenvlist(self._handle)
        pairs: dict[str, str] = {}
        if not found:
            return pairs
        at = 0
        # Each text and the list are ours to free; this process ends soon enough.
        while found[at]:
            name, _, value = (ctypes.string_at(found[at])).decode(errors="replace").partition("=")
            pairs[name] = value
            at += 1
        return taken(pairs)


def taken(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of a session's variables that a user endpoint gets.

    What says who it is, or changes what code it runs, the launcher alone decides.
    """
    return {
        name: value
        for name, value in list(variables.items())[:_MOST_VARIABLES]
        if name.isidentifier()
        and name.isascii()
        and name not in _NEVER_TAKEN
        and not name.startswith(_NEVER_TAKEN_PREFIXES)
        and len(value) <= _MOST_VALUE_CHARS
    }


def _plain(text: str) -> str:
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())[:_MOST_CHARS]
