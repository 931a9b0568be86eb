"""Where our verdict on gunicorn's samples is another than gunicorn's, sample by sample, and why."""

from __future__ import annotations

from typing import Final, NamedTuple

_THEIR_LIMIT = "a limit of gunicorn's that a test of theirs sets or lowers; the request is in good order"
_RENAMED = (
    "gunicorn refuses names that CGI would confuse with framing fields; we drop them, so the formation "
    "sees one length and no such field"
)

#: Samples called invalid that may reach a formation.
ACCEPTED: Final = {
    "003c": "a method is any token (RFC 9110 9.1); that it has upper-case letters only is gunicorn's rule",
    "006": _THEIR_LIMIT,
    "007": _THEIR_LIMIT,
    "008": _THEIR_LIMIT,
    "009": _THEIR_LIMIT,
    "010": _THEIR_LIMIT,
    "011": _THEIR_LIMIT,
    "012": _THEIR_LIMIT,
    "017": _THEIR_LIMIT,
    "limit_header_default_01": _THEIR_LIMIT,
    "019": "fields of the client's that contradict each other, X-Forwarded-…, never reach a formation",
    "040": _RENAMED,
    "chunked_07": _RENAMED,
    "041": "a repeated Content-Type changes no framing; whether to mind is the formation's affair",
    "rfc9112_leading_crlf_02": "at least one empty line before is passed over (RFC 9112 2.2); we take two",
}


class Refusal(NamedTuple):
    """How a sample called valid is answered: the only status, and why."""

    status: int
    reason: str


_CODINGS = Refusal(400, "a transfer coding beside chunked, in a field of its own: which is last is ambiguous")
_UNKNOWN = Refusal(501, "no transfer coding but chunked is known here (RFC 9112 6.1)")
_FOLDED = Refusal(400, "folded lines are refused (RFC 9112 5.2); gunicorn's test turns an option on for them")
_PROXY = Refusal(400, "the PROXY protocol is off unless the configuration says otherwise")
_NO_FORWARD = Refusal(501, "this is not a forward proxy")

#: Samples called valid that we refuse.
REFUSED: Final = {
    "025": _CODINGS,
    "029": _CODINGS,
    "030": _CODINGS,
    "025_line": _UNKNOWN,
    "rfc9112_smuggle_gzip_chunked_01": _UNKNOWN,
    "rfc9112_smuggle_te_identity_chunked_01": _UNKNOWN,
    "028": Refusal(400, "space before the colon (RFC 9112 5.1); gunicorn's test turns an option on for it"),
    "099": Refusal(408, "its body is shorter than its Content-Length, so the rest is waited for"),
    "compat_obs_fold": _FOLDED,
    "compat_obs_fold_huge": _FOLDED,
    "pp_01": _PROXY,
    "pp_02": _PROXY,
    "pp_04": _PROXY,
    "pp_05": _PROXY,
    "rfc9112_target_absolute_userinfo_01": Refusal(400, "userinfo in a target misleads (RFC 9110 4.2.4)"),
    "rfc9112_target_authority_connect_01": _NO_FORWARD,
    "rfc9112_target_authority_ipv6_01": _NO_FORWARD,
}
