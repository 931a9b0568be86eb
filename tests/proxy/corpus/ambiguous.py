"""Requests of our own that two readers could understand differently, most with another one hidden inside.

Each begins a request for `/api/bot`; the hidden one asks for `/api/secret`.
"""

from __future__ import annotations

from typing import Final

HIDDEN: Final = b"GET /api/secret HTTP/1.1\r\nHost: a\r\n\r\n"
POST: Final = b"POST /api/bot HTTP/1.1\r\nHost: a\r\n"
GET: Final = b"GET /api/bot HTTP/1.1\r\nHost: a\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST: Final = b"0\r\n\r\n"

_CL: Final = b"Content-Length: %d\r\n"
_SIZE: Final = len(HIDDEN)


def _te(field: bytes) -> bytes:
    """Give a request whose end is the zero chunk for those who take the field for chunked, else later."""
    return POST + _CL % (_SIZE + 5) + field + b"\r\n\r\n" + LAST + HIDDEN


#: To be refused, and nothing of them, or no whole request, to reach anybody.
REFUSED: Final = {
    # Content-Length against Transfer-Encoding.
    "cl.te": POST + _CL % (_SIZE + 5) + b"Transfer-Encoding: chunked\r\n\r\n" + LAST + HIDDEN,
    "te.cl": POST
    + b"Transfer-Encoding: chunked\r\n"
    + _CL % 4
    + b"\r\n%x\r\n" % _SIZE
    + HIDDEN
    + b"\r\n"
    + LAST,
    "te.te, the second unknown": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n"
    + LAST
    + HIDDEN,
    "te.te, the first unknown": POST
    + b"Transfer-Encoding: cow\r\nTransfer-encoding: chunked\r\n\r\n"
    + LAST
    + HIDDEN,
    # One field that some take for `Transfer-Encoding: chunked` and some do not.
    "te: xchunked": _te(b"Transfer-Encoding: xchunked"),
    "te: space before the colon": _te(b"Transfer-Encoding : chunked"),
    "te: tab before the colon": _te(b"Transfer-Encoding\t: chunked"),
    "te: space before the name": _te(b" Transfer-Encoding: chunked"),
    "te: folded": _te(b"Transfer-Encoding:\r\n chunked"),
    "te: folded after another": _te(b"X: x\r\n\tTransfer-Encoding: chunked"),
    "te: vertical tab": _te(b"Transfer-Encoding:\x0bchunked"),
    "te: form feed": _te(b"Transfer-Encoding: \x0cchunked"),
    "te: no-break space": _te(b"Transfer-Encoding: \xa0chunked"),
    "te: quoted": _te(b'Transfer-Encoding: "chunked"'),
    "te: parameter": _te(b"Transfer-Encoding: chunked;q=0.5"),
    "te: comma before": _te(b"Transfer-Encoding: , chunked"),
    "te: comma after": _te(b"Transfer-Encoding: chunked,"),
    "te: twice in one": _te(b"Transfer-Encoding: chunked, chunked"),
    "te: identity last": _te(b"Transfer-Encoding: chunked, identity"),
    "te: NUL": _te(b"Transfer-Encoding: chunked\0"),
    "te: NUL in the name": _te(b"Transfer\0-Encoding: chunked"),
    "te: DEL": _te(b"Transfer-Encoding: chunked\x7f"),
    "te: after a bare LF": _te(b"X: x\nTransfer-Encoding: chunked"),
    "te: after a bare CR": _te(b"X: x\rTransfer-Encoding: chunked"),
    "te: after CR CR LF": _te(b"X: x\r\r\nTransfer-Encoding: chunked"),
    "te: non-ASCII name": _te(b"Transfer\xadEncoding: chunked"),
    "te: in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + LAST + HIDDEN,
    # Lengths.
    "cl: two different": POST + _CL % 0 + _CL % _SIZE + b"\r\n" + HIDDEN,
    "cl: two the same": POST + _CL % _SIZE + _CL % _SIZE + b"\r\n" + HIDDEN,
    "cl: list": POST + b"Content-Length: 0, %d\r\n\r\n" % _SIZE + HIDDEN,
    "cl: list of the same": POST + b"Content-Length: 0,0\r\n\r\n" + HIDDEN,
    "cl: plus": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "cl: minus": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "cl: minus nought": POST + b"Content-Length: -0\r\n\r\n" + HIDDEN,
    "cl: hexadecimal": POST + b"Content-Length: 0x%x\r\n\r\n" % _SIZE + HIDDEN,
    "cl: octal": POST + b"Content-Length: 0o10\r\n\r\n" + HIDDEN,
    "cl: underscore": POST + b"Content-Length: 1_0\r\n\r\n" + HIDDEN,
    "cl: exponent": POST + b"Content-Length: 1e1\r\n\r\n" + HIDDEN,
    "cl: fraction": POST + b"Content-Length: 0.0\r\n\r\n" + HIDDEN,
    "cl: empty": POST + b"Content-Length: \r\n\r\n" + HIDDEN,
    "cl: two numbers": POST + b"Content-Length: 0 %d\r\n\r\n" % _SIZE + HIDDEN,
    "cl: beyond 63 bits": POST + b"Content-Length: 9223372036854775808\r\n\r\n" + HIDDEN,
    "cl: 2^64": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + HIDDEN,
    "cl: thousand digits": POST + b"Content-Length: " + b"0" * 1000 + b"\r\n\r\n" + HIDDEN,
    "cl: other digits": POST + b"Content-Length: \xd9\xa1\r\n\r\n" + HIDDEN,
    "cl: superscript": POST + b"Content-Length: \xb2\r\n\r\n" + HIDDEN,
    "cl: space before the colon": POST + b"Content-Length : %d\r\n\r\n" % _SIZE + HIDDEN,
    "cl: folded": POST + b"Content-Length:\r\n 0\r\n\r\n" + HIDDEN,
    "cl: in a folded line": POST + b"X: x\r\n Content-Length: %d\r\n\r\n" % _SIZE + HIDDEN,
    # Chunks.
    "chunk: LF after the size": CHUNKED + b"0\n\n" + HIDDEN,
    "chunk: LF at the end": CHUNKED + b"0\r\n\n" + HIDDEN,
    "chunk: LF in an extension": CHUNKED + b"2;\nxx\r\n%x\r\n" % _SIZE + LAST + HIDDEN,
    "chunk: CR in an extension": CHUNKED + b"2;\rxx\r\n" + LAST + HIDDEN,
    "chunk: NUL in an extension": CHUNKED + b"0;\0\r\n\r\n" + HIDDEN,
    "chunk: extension without its semicolon": CHUNKED + b"0 a=b\r\n\r\n" + HIDDEN,
    "chunk: space after the size": CHUNKED + b"0 \r\n\r\n" + HIDDEN,
    "chunk: space before the size": CHUNKED + b" 0\r\n\r\n" + HIDDEN,
    "chunk: hexadecimal prefix": CHUNKED + b"0x0\r\n\r\n" + HIDDEN,
    "chunk: plus": CHUNKED + b"+0\r\n\r\n" + HIDDEN,
    "chunk: minus": CHUNKED + b"-0\r\n\r\n" + HIDDEN,
    "chunk: underscore": CHUNKED + b"1_0\r\n" + b"x" * 16 + b"\r\n" + LAST + HIDDEN,
    "chunk: size beyond 64 bits": CHUNKED + b"10000000000000000\r\n\r\n" + LAST + HIDDEN,
    "chunk: size of 32 bits more": CHUNKED + b"f" * 16 + b"\r\n\r\n" + LAST + HIDDEN,
    "chunk: no size": CHUNKED + b"\r\n\r\n" + HIDDEN,
    "chunk: only an extension": CHUNKED + b";a=b\r\n\r\n" + HIDDEN,
    "chunk: longer than its size": CHUNKED + b"1\r\nxx\r\n" + LAST + HIDDEN,
    "chunk: shorter than its size": CHUNKED + b"4\r\nxx\r\n" + LAST + HIDDEN,
    "chunk: LF after the data": CHUNKED + b"1\r\nx\n" + LAST + HIDDEN,
    "chunk: anything for the CR LF after the data": CHUNKED + b"1\r\nxYZ" + LAST + HIDDEN,
    "trailer: Content-Length": CHUNKED + b"0\r\nContent-Length: %d\r\n\r\n" % _SIZE + HIDDEN,
    "trailer: Transfer-Encoding": CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "trailer: Host": CHUNKED + b"0\r\nHost: b\r\n\r\n" + HIDDEN,
    "trailer: the hidden request": CHUNKED + b"0\r\n" + HIDDEN,
    "trailer: folded": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n" + HIDDEN,
    "trailer: without a name": CHUNKED + b"0\r\n: a\r\n\r\n" + HIDDEN,
    # Heads.
    "head: LF only": b"GET /api/bot HTTP/1.1\nHost: a\n\n" + HIDDEN,
    "head: a request in a field, by LF": GET + b"X: x\n\n" + HIDDEN,
    "head: a request in a field, by CR": GET + b"X: x\r\r" + HIDDEN,
    "head: LF CR": GET + b"X: x\n\r\n\r\n" + HIDDEN,
    "head: field without a colon": GET + b"X\r\n\r\n" + HIDDEN,
    "head: field without a name": GET + b": x\r\n\r\n" + HIDDEN,
    "head: first field folded": b"GET /api/bot HTTP/1.1\r\n Host: a\r\n\r\n" + HIDDEN,
    "head: no Host": b"GET /api/bot HTTP/1.1\r\n\r\n" + HIDDEN,
    "head: two Hosts": GET + b"Host: b\r\n\r\n" + HIDDEN,
    "head: Host with a path": b"GET /api/bot HTTP/1.1\r\nHost: a/api/secret\r\n\r\n" + HIDDEN,
    "head: Host with user": b"GET /api/bot HTTP/1.1\r\nHost: b@a\r\n\r\n" + HIDDEN,
    "head: HTTP/1.2": b"GET /api/bot HTTP/1.2\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: HTTP/1.10": b"GET /api/bot HTTP/1.10\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: HTTP/01.1": b"GET /api/bot HTTP/01.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: http/1.1": b"GET /api/bot http/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: HTTP/0.9": b"GET /api/bot\r\n\r\n" + HIDDEN,
    "head: two spaces": b"GET  /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: tabs": b"GET\t/api/bot\tHTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: space at the end": b"GET /api/bot HTTP/1.1 \r\nHost: a\r\n\r\n" + HIDDEN,
    "head: space in the target": b"GET /api/bot /api/secret HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: a version in the target": b"GET /api/bot HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: NUL in the target": b"GET /api/bot\0 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: CR in the target": b"GET /api/bot\rX HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: empty method": b" /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: method with a NUL": b"GE\0T /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: three empty lines before": b"\r\n\r\n\r\nGET /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: bare LF before": b"\nGET /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "head: BOM before": b"\xef\xbb\xbfGET /api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: user": b"GET http://u:p@a/api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: no authority": b"GET http:///api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: another scheme": b"GET file://a/api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: authority with a backslash": b"GET http://a\\b/api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: relative": b"GET api/bot HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: authority of CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "target: path of CONNECT's kind": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
}

#: To be served, once, with the hidden request as the body or a part of it.
CARRIED: Final = {
    "by length": POST + _CL % _SIZE + b"\r\n" + HIDDEN,
    "by length, in a GET": GET + _CL % _SIZE + b"\r\n" + HIDDEN,
    "by length, with noughts": POST + b"Content-Length: 000%d\r\n\r\n" % _SIZE + HIDDEN,
    "by length, named by Connection": POST
    + b"Connection: Content-Length\r\n"
    + _CL % _SIZE
    + b"\r\n"
    + HIDDEN,
    "by chunk": CHUNKED + b"%x\r\n" % _SIZE + HIDDEN + b"\r\n" + LAST,
    "by chunk, upper case": CHUNKED + b"%X\r\n" % _SIZE + HIDDEN + b"\r\n" + LAST,
    "by chunk, with noughts": CHUNKED + b"0000000%x\r\n" % _SIZE + HIDDEN + b"\r\n" + LAST,
    "by chunk, with an extension": CHUNKED + b'%x;a="b;c"\r\n' % _SIZE + HIDDEN + b"\r\n" + LAST,
    "by chunk, coding in capitals": POST
    + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n%x\r\n" % _SIZE
    + HIDDEN
    + b"\r\n"
    + LAST,
    "by chunk, named by Connection": POST
    + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % _SIZE
    + HIDDEN
    + b"\r\n"
    + LAST,
    "by length, beside Transfer_Encoding": POST
    + b"Transfer_Encoding: chunked\r\n"
    + _CL % _SIZE
    + b"\r\n"
    + HIDDEN,
    "by length, beside Content_Length": POST + b"Content_Length: 0\r\n" + _CL % _SIZE + b"\r\n" + HIDDEN,
    "by length, beside TE": POST + b"TE: chunked\r\n" + _CL % _SIZE + b"\r\n" + HIDDEN,
}
