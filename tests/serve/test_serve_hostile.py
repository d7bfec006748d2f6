"""Requests that mean harm or make no sense: each is refused in words, and the next ordinary one is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from serve_process import Answer, Server, read_all, request, scenes

SECRET = b"the secret words"
GROWTH_MIB = 250
JSON_TYPE = "Content-Type: application/json"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret.txt").write_bytes(SECRET)
    indexes = scenes(folder / "quiet.hivlp"), scenes(folder / "work.hivlp")
    with Server("-m", "hivlp", "serve", *indexes, "--port", "0", "--writable") as server:
        at_first = server.memory()
        yield server
        assert server.memory() < at_first + GROWTH_MIB


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    yield
    server.check()


def only(answers: list[Answer]) -> Answer:
    assert len(answers) == 1, answers
    return answers[0]


def times(thing: bytes, count: int) -> bytes:
    return b",".join([thing] * count)


def post(server: Server, body: bytes | str, path: str = "/v1/search", **headers: str) -> Answer:
    headers = {"Content-Type": "application/json", **headers}
    return server.ask("POST", path, content=body, headers=headers)


@pytest.mark.parametrize(
    "target",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/page/..\\app.py",
        "/page/%00",
        "/page/index.html%00.css",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page",
        "/page/",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/v1/items/",
        "/v1/items/%00",
        "/v1/items/..%2f..%2fsecret.txt/original",
        "/v1/items/../secret.txt/original",
        "/v1/items/%2e%2e%2fsecret.txt/thumbnail",
        "/v1/items/%2fetc%2fpasswd/original",
        "/v1/items//etc/passwd/original",
        "/v1/items/file:%2f%2f%2fetc%2fpasswd/original",
        "/v1/items/0.png%00/original",
        "/v1/items/%ff%fe/original",
        "/v1/items/%zz",
        "/v1/items/'%20or%20'1'='1",
        "/v1/items/0.png';drop%20table%20items;--",
        "/v1/items/" + "a" * 5_000,
        "/v1/items/0.png?index=../work",
        "/v1/items/0.png?index=%00",
        "/v1/items/0.png/thumbnail?size=100000",
        "/v1/search/",
        "/v1/search?q=red&where=1%3D1",
        "/v1/search?q=red&where=width%3D1;drop%20table%20items",
        "/v1/search?q=red&where=width%3D1%20union%20select%201",
        "/v1/search?q=red&where='%20or%20'1'='1",
        "/v1/search?q=red&where=width%3D1--",
        "/v1/search?q=red&where=%22a%22%22%20or%201%22%3D1",
        "/v1/search?q=red&where=(select%201)%3D1",
        "/v1/search?q=red&where=" + "(" * 1_000,
        "/v1/search?q=red&k=0",
        "/v1/search?q=red&k=-1",
        "/v1/search?q=red&k=1e3",
        "/v1/search?q=red&k=" + "9" * 5_000,
        "/v1/search?q=red&min_score=nan",
        "/v1/search?q=red&min_score=Infinity",
        "/v1/search?q=red&secret=1",
        "/v1/search?q=%00",
        "/v1/search?q=",
        "/v1/search?q=" + "a" * 20_001,
        "/v1/search?",
        "/docs",
        "/.git/config",
        "http://[",
        "*",
        "/" + "a" * 60_000,
        "/\xff",
    ],
    ids=lambda target: target[:40],
)
def test_a_target_leads_nowhere_else(server: Server, target: str) -> None:
    answer = only(server.send(request(target)))
    assert answer.code() in ("not_found", "invalid", "bad_query", "bad_filter", "bad_request")
    assert SECRET not in answer.body


DEEP = 10_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'"query"', 422),
        (b"\xff\xfe", 422),
        ('{"query": "red"}'.encode("utf-16"), 422),
        (b'\xef\xbb\xbf{"query": "red"}', 422),
        (b'{"query": "red"} {}', 422),
        (b"[" * DEEP, 422),
        (b'{"mix":' * DEEP, 422),
        (b'{"query": "red", "x":' + b"[" * DEEP + b"]" * DEEP + b"}", 422),
        (b'{"query": "\\ud800"}', 422),
        (b'{"query": "\\u0000"}', 400),
        (b'{"query": "\\u200b \\u2060"}', 400),
        (b'{"item": "\\u0000"}', 404),
        (b'{"query": 1}', 422),
        (b'{"query": ["red"]}', 422),
        (b'{"query": null}', 422),
        (b'{"query": "red", "item": "0.png"}', 422),
        (b'{"query": "red", "k": NaN}', 422),
        (b'{"query": "red", "k": 1e400}', 422),
        (b'{"query": "red", "k": {}}', 422),
        (b'{"query": "red", "k": ' + b"9" * 4_000 + b"}", 400),
        (b'{"query": "red", "k": ' + b"9" * 100_000 + b"}", 422),
        (b'{"query": "red", "min_score": Infinity}', 422),
        (b'{"query": "red", "min_score": -2}', 422),
        (b'{"query": "red", "recall": 0}', 422),
        (b'{"query": "red", "kind": "secret"}', 422),
        (b'{"query": "red", "where": "width = 1e999"}', 400),
        (b'{"query": "red", "where": "\\u0000"}', 400),
        (b'{"image_base64": "!!!!"}', 422),
        (b'{"image_base64": "data:image/png;base64,iVBORw0KGgo="}', 422),
        (b'{"image_base64": "iVBORw0KGgo"}', 422),
        (b'{"image_base64": ""}', 422),
        (b'{"mix": []}', 422),
        (b'{"mix": [{"query": "red", "weight": 0}]}', 400),
        (b'{"mix": [{"query": "red", "weight": NaN}]}', 422),
        (b'{"mix": [' + times(b'{"query": "red"}', 17) + b"]}", 422),
        (b'{"queries": []}', 422),
        (b'{"queries": [' + times(b'{"query": "red"}', 257) + b"]}", 413),
        (b'{"k": 1000, "queries": [' + times(b'{"query": "red"}', 51) + b"]}", 413),
        (b'{"queries": [{"queries": [{"query": "red"}]}]}', 422),
    ],
    ids=lambda value: repr(value[:32]) if isinstance(value, bytes) else None,
)
def test_a_body_that_is_none_is_refused(server: Server, body: bytes, status: int) -> None:
    answer = post(server, body)
    assert (answer.status, bool(answer.code())) == (status, True)


# Made when they are sent: together they would fill the memory of every process that collects the tests.
HUGE: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "query": ("/v1/search", lambda: b'{"query": "' + b"a" * 10 * MIB + b'"}', 422),
    "name": ("/v1/search", lambda: b'{"query": "red", "' + b"a" * MIB + b'": 1}', 422),
    "index": ("/v1/search", lambda: b'{"query": "red", "index": "' + b"a" * MIB + b'"}', 404),
    "where": ("/v1/search", lambda: b'{"query": "red", "where": "' + b"a" * MIB + b'"}', 422),
    "item": ("/v1/search", lambda: b'{"item": "' + b"a" * MIB + b'"}', 422),
    "picture": ("/v1/search", lambda: b'{"image_base64": "' + b"A" * 28 * MIB + b'"}', 422),
    "queries": ("/v1/search", lambda: b'{"queries": [' + times(b'{"query": "a"}', 1_000_000) + b"]}", 413),
    "body": ("/v1/search", lambda: b"x" * 33_000_000, 413),
    "model": ("/v1/embeddings", lambda: b'{"input": "red", "model": "' + b"a" * MIB + b'"}', 404),
    "inputs": ("/v1/embeddings", lambda: b'{"input": [' + times(b'"red"', 1_000_000) + b"]}", 413),
    "items": ("/v1/items", lambda: b'{"items": [' + times(b'{"text": "a"}', 1_000_000) + b"]}", 413),
    "names": ("/v1/search", lambda: b'{"query": "red", ' + times(b'"a": 1', 3_000_000) + b"}", 413),
    "lists": ("/v1/search", lambda: b'{"query": "red", "x": [' + times(b"[]", 9_000_000) + b"]}", 413),
    "upload": ("/v1/items", lambda: b'{"items": [{"image_base64": "' + b"A" * 28 * MIB + b'"}]}', 413),
}


@pytest.mark.parametrize("name", list(HUGE))
def test_a_body_that_is_too_much_is_refused(server: Server, name: str) -> None:
    path, body, status = HUGE[name]
    answer = post(server, body(), path)
    assert (answer.status, bool(answer.code())) == (status, True)


def test_memory_comes_back(server: Server) -> None:
    def a_round() -> float:
        for name in ("query", "picture", "model"):
            path, body, _ = HUGE[name]
            post(server, body(), path)
        return server.memory()

    a_round()
    after_few = a_round()
    assert max(a_round() for _ in range(4)) < after_few + 50


@pytest.mark.parametrize("path", ["/v1/search", "/v1/items"])
def test_a_file_that_is_too_much_is_refused(server: Server, path: str) -> None:
    answer = server.ask("POST", path, files={"image": ("a.gif", b"GIF89a" + bytes(21_000_000))})
    assert answer.status in (413, 422)
    assert answer.code() in ("too_large", "bad_image")


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "green", "query": "a red boat on the sea", "k": 5}',
        b'{"query": "a red\\u0000boat\\u0007 on the \\u001b sea", "k": 5}',
        b'{"query": "a red boat on the sea", "k": 5, "candidates": 99999999999999999999999}',
        b'{"mix": [{"query": "a red boat on the sea", "weight": 1e-300}], "k": 5}',
    ],
    ids=["twice", "control characters", "huge number", "tiny weight"],
)
def test_what_is_odd_and_has_a_meaning_is_answered(server: Server, body: bytes) -> None:
    answer = server.ask("POST", "/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status == 200
    hits = json.loads(answer.body)["hits"]
    assert [hit["id"] for hit in hits][:1] == [hit["id"] for hit in server.usual][:1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"input": ["red", "' + b"a" * 20_001 + b'"]}', 422),
        (b'{"input": "' + b"a" * 20_001 + b'"}', 422),
        (b'{"input": [[1, 2, 3]]}', 422),
        (b'{"input": ""}', 400),
        (b'{"input": "red", "dimensions": 33}', 400),
        (b'{"input": "red", "model": "../../etc/passwd"}', 404),
        (b'{"input": {"image_base64": "AA=="}}', 422),
        (b'{"input": [' + times(b'"red"', 300) + b"]}", 413),
    ],
    ids=lambda value: repr(value[:32]) if isinstance(value, bytes) else None,
)
def test_embeddings_of_nonsense_are_refused(server: Server, body: bytes, status: int) -> None:
    answer = post(server, body, "/v1/embeddings")
    assert (answer.status, bool(answer.code())) == (status, True)


@pytest.mark.parametrize("way", ["json", "form"])
@pytest.mark.parametrize(
    "meta",
    ['{"x": NaN}', '{"x": -Infinity}', '{"x": 1e400}', '{"x": "\\ud800"}', "[" * 19_000, "[1]", "x", "{"],
    ids=lambda meta: meta[:16],
)
def test_metadata_that_no_answer_could_hold_is_refused(server: Server, meta: str, way: str) -> None:
    if way == "json":
        answer = post(
            server, f'{{"index": "work", "items": [{{"text": "red", "meta": {meta}}}]}}', "/v1/items"
        )
    else:
        files = {"image": ("x.png", b"")}
        answer = server.ask("POST", "/v1/items", files=files, data={"index": "work", "meta": meta})
    assert (answer.status, answer.code()) == (422, "invalid")
    assert "meta" in json.loads(answer.body)["error"]["message"] or way == "json"


FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nGIF89a\r\n--x--\r\n'
NAMED = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("", FORM, 415),
        ("text/html", FORM, 415),
        ("text/plain", b'{"query": "red"}', 415),
        ("application/x-www-form-urlencoded", b"q=red", 415),
        ("application/json, text/html", b'{"query": "red"}', 415),
        ("multipart/mixed; boundary=x", FORM, 415),
        ("multipart/form-data", FORM, 422),
        ("multipart/form-data; boundary=", FORM, 422),
        ("multipart/form-data; boundary=y", FORM, 422),
        ("multipart/form-data; boundary=" + "x" * 5_000, FORM, 422),
        ("multipart/form-data; charset=undefined; boundary=x", NAMED % (b"q", b"\xff") + FORM, 422),
        ("multipart/form-data; charset=punycode; boundary=x", NAMED % (b"q", b"\xff") + FORM, 422),
        ("multipart/form-data; charset=zlib; boundary=x", NAMED % (b"q", b"\xff") + FORM, 422),
        ("multipart/form-data; charset=unicode_escape; boundary=x", NAMED % (b"q", b"\\ud800") + FORM, 422),
        ("multipart/form-data; boundary=x", b"", 422),
        ("multipart/form-data; boundary=x", b"--x\r\n" * 5_000, 422),
        ("multipart/form-data; boundary=x", FORM[:-9], 422),
        ("multipart/form-data; boundary=x", FORM[:-7] + FORM, 422),
        ("multipart/form-data; boundary=x", (NAMED % (b"q", b"red")) * 5_000 + FORM, 422),
        ("multipart/form-data; boundary=x", FORM.replace(b"--x--\r\n", b"") * 1_000, 422),
        ("multipart/form-data; boundary=x", NAMED % (b"q", b"a" * 2 * MIB) + FORM, 422),
        ("multipart/form-data; boundary=x", NAMED % (b"image", b"no file") + b"--x--\r\n", 422),
        ("multipart/form-data; boundary=x", NAMED % (b"k", b"many") + FORM, 422),
        ("multipart/form-data; boundary=x", NAMED % (b"secret", b"1") + FORM, 422),
        ("multipart/form-data; boundary=x", b"--x\r\nX: " + b"y" * 3 * MIB, 422),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 50_000 + b"\r\n--x--", 422),
        ("multipart/form-data; boundary=x", FORM.replace(b"image", b"../../image"), 422),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, (str, bytes)) else None,
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/items"])
def test_a_form_that_is_none_is_refused(
    server: Server, path: str, kind: str, body: bytes, status: int
) -> None:
    answer = post(server, body, path, **{"Content-Type": kind})
    assert answer.status in (status, 413)
    assert answer.code() in ("bad_type", "invalid", "bad_image", "too_large")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "PURGE"])
@pytest.mark.parametrize("path", ["/", "/v1/search", "/v1/items/0.png", "/page/index.html", "/nowhere"])
def test_methods_that_are_not_there(server: Server, method: str, path: str) -> None:
    answer = server.ask(method, path)
    if method == "HEAD":
        assert answer.body == b""
        assert answer.status == server.ask("GET", path).status
    else:
        assert (answer.status, answer.code()) in ((405, "bad_method"), (404, "not_found"))


NO_HTTP: dict[str, list[bytes]] = {
    "noise": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "HTTP/0.9": [b"GET /\r\n\r\n"],
    "no version": [b"GET / HTTP/9.9\r\n\r\n"],
    "unknown method": [b"HACK / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
    "CONNECT": [b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"],
    "space in the target": [request("/v1/search?q=a red boat")],
    "line feed in a header": [request("/", "X: a\nY\x00: b")],
    "two lengths": [request("/v1/search", "Content-Length: 5", "Content-Length: 6", method="POST")],
    "length and chunks": [
        request("/v1/search", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST")
    ],
    "negative length": [request("/v1/search", "Content-Length: -5", method="POST")],
    "length in words": [request("/v1/search", "Content-Length: ten", method="POST")],
    "endless length": [request("/v1/search", "Content-Length: " + "9" * 5_000, method="POST")],
    "folded header": [request("/", "X: a", " folded")],
    "bad chunk": [request("/v1/search", JSON_TYPE, "Transfer-Encoding: chunked", method="POST"), b"zz\r\n"],
    "huge chunk": [
        request("/v1/search", JSON_TYPE, "Transfer-Encoding: chunked", method="POST"),
        b"f" * 40 + b"\r\n",
    ],
}


@pytest.mark.parametrize("name", list(NO_HTTP))
def test_what_is_no_http_is_told_so(server: Server, name: str) -> None:
    answer = only(server.send(*NO_HTTP[name]))
    assert answer.status in (400, 403, 404)
    assert answer.code() in ("bad_request", "foreign_host", "not_found")
    assert answer.headers["connection"] == "close"


def test_a_head_without_end_is_cut_off(server: Server) -> None:
    for endless in (b"X: " + b"a" * 4 * MIB, b"X-A: b\r\n" * 500_000):
        answer = only(server.send(b"GET / HTTP/1.1\r\n", endless))
        assert (answer.status, answer.code()) == (431, "too_large")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_over_the_limit_is_answered_while_it_is_still_sent(server: Server, chunked: bool) -> None:
    size = 40_000_000
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = request("/v1/search", JSON_TYPE, how, method="POST", close=False)
    part = b"%x\r\n%b\r\n" % (MIB, b"a" * MIB) if chunked else b"a" * MIB
    answer = only(
        server.send(head, *[part] * (size // MIB), b"0\r\n\r\n" if chunked else b"a" * (size % MIB))
    )
    assert (answer.status, answer.code()) == (413, "too_large")
    assert answer.headers["connection"] == "close"


def test_an_answer_before_the_body_was_read_closes_the_connection(server: Server) -> None:
    body = request("/healthz", close=False)  # would be taken for the next request
    head = request("/nowhere", f"Content-Length: {len(body)}", method="POST", close=False)
    answer = only(server.send(head + body))
    assert (answer.status, answer.headers["connection"]) == (404, "close")


def test_a_length_that_is_too_short_spoils_only_its_own_connection(server: Server) -> None:
    head = request("/v1/search", JSON_TYPE, "Content-Length: 16", method="POST", close=False)
    first, *rest = server.send(head + b'{"query": "red"}' + b"and more")
    assert first.status == 200
    assert [answer.status for answer in rest] in ([], [400])


def test_requests_in_one_packet_are_answered_in_their_order(server: Server) -> None:
    one = request("/v1/search?q=red&k=1&index=quiet", close=False)
    answers = server.send(one * 50 + request("/healthz"))
    assert [answer.status for answer in answers] == [200] * 51
    assert answers[-1].body == b'{"status":"ok"}'


def test_a_client_that_leaves_disturbs_nobody(server: Server) -> None:
    body = b'{"queries": [' + times(b'{"query": "red"}', 200) + b"]}"
    whole = request("/v1/search", JSON_TYPE, f"Content-Length: {len(body)}", method="POST") + body
    for end in (10, len(whole) - len(body), len(whole) - 100, len(whole)):
        with server.connect() as connection:
            connection.sendall(whole[:end])
        server.check()
    with server.connect() as connection:  # and one that leaves in the middle of the answer
        connection.sendall(whole)
        assert connection.recv(10) == b"HTTP/1.1 2"


def test_a_half_closed_connection_is_closed(server: Server) -> None:
    for sent in (b"", b"GET / HT", request("/healthz", close=False)):
        with server.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(1)
            assert len(read_all(connection)) <= 1


def test_connections_that_say_nothing_take_no_place(server: Server) -> None:
    waiting = [server.connect() for _ in range(300)]
    try:
        server.check()
    finally:
        for connection in waiting:
            connection.close()


def test_ranges_of_the_page_are_not_taken_apart(server: Server) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(5_000))
    for value in (ranges, "bytes=9999999-", "x", "bytes=0-0"):
        answer = server.ask("GET", "/page/index.html", headers={"Range": value})
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_an_id_may_end_like_a_route(server: Server) -> None:
    names = ["a", "a/thumbnail", "a/original", "100%/thumbnail", "%2F"]
    items = [{"id": name, "text": f"words {number}"} for number, name in enumerate(names)]
    assert post(server, json.dumps({"index": "work", "items": items}), "/v1/items").status == 200
    for name in names:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        answer = server.ask("GET", f"/v1/items/{encoded}?index=work")
        assert json.loads(answer.body)["id"] == name
    assert server.ask("GET", "/v1/items/a/thumbnail?index=work").code() == "not_found", "a text has none"
    for name in names:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        assert server.ask("DELETE", f"/v1/items/{encoded}?index=work").status == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: evil.example"],
        ["Host: 127.0.0.1.evil.example"],
        ["Host: localhost@evil.example"],
        ["Host: [::1"],
        ["Host:"],
        ["Host: \xe9\xff"],
        ["Host: " + "a" * 10_000],
        ["Host: evil.example", "X-Forwarded-Host: 127.0.0.1", "Forwarded: host=127.0.0.1"],
        ["Origin: https://evil.example"],
        ["Origin: null"],
        ["Origin: http://["],
        ["Origin: http://127.0.0.1.evil.example"],
        ["Origin: \xff"],
        ["Origin: " + "a" * 10_000],
    ],
    ids=lambda lines: lines[0][:32],
)
def test_foreign_names_are_refused(server: Server, lines: list[str]) -> None:
    answer = only(server.send(request("/v1/search?q=red", *lines)))
    assert answer.status == 403
    assert answer.code() in ("foreign_host", "foreign_origin")
    assert "access-control-allow-origin" not in answer.headers


def test_what_a_proxy_would_say_is_not_believed_blindly(server: Server) -> None:
    for value in ("evil", "\xff", ",,,", "1.2.3.4, 5.6.7.8", "a" * 10_000):
        lines = [f"X-Forwarded-For: {value}", f"X-Forwarded-Proto: {value}"]
        answer = only(server.send(request("/healthz", *lines)))
        assert answer.status == 200
        assert value.encode("latin-1") not in answer.body


def test_numbers_of_more_than_64_bits_come_back(server: Server) -> None:
    number = 10**300 + 7
    item = {"id": "number", "text": "a number", "meta": {"n": number}}
    assert post(server, json.dumps({"index": "work", "items": [item]}), "/v1/items").status == 200
    assert json.loads(server.ask("GET", "/v1/items/number?index=work").body)["meta"] == {"n": number}
    assert server.ask("GET", "/v1/search?q=a%20number&index=work").status == 200
    assert server.ask("DELETE", "/v1/items/number?index=work").status == 200
