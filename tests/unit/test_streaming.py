"""Streamed responses as values: their prelude, and their buffered form where the platform cannot stream."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from vms import streaming
from vms.errors import NotFound, TooLarge, Unauthenticated
from vms.responses import MAX_BUFFERED, MAX_PRELUDE, Streamed, buffered, problem


class Source:
    """Chunks that tell whether they have been let go."""

    def __init__(self, *chunks: bytes, failure: Exception | None = None) -> None:
        self.chunks = iter(chunks)
        self.failure = failure
        self.made = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for chunk in self.chunks:
            self.made += 1
            return chunk
        if self.failure is not None:
            raise self.failure
        raise StopIteration

    def close(self) -> None:
        self.closed = True


def body_of(answer: dict[str, object]) -> bytes:
    text = str(answer["body"])
    return base64.b64decode(text, validate=True) if answer["isBase64Encoded"] else text.encode()


def test_a_response_begins_once_with_the_first_chunk_that_has_bytes() -> None:
    source = Source(b"", b"", b"a", b"b")
    response = Streamed(200, [], source)
    assert source.made == 0
    response.begin()
    response.begin()
    assert (response.first, source.made) == (b"a", 3)
    assert list(response.chunks) == [b"b"]


def test_a_response_without_chunks_begins_with_nothing_and_closes() -> None:
    response = Streamed(204, [])
    response.begin()
    response.close()
    assert response.first == b""


def test_a_prelude_sorts_headers_by_how_often_they_come() -> None:
    headers = [("A", "1"), ("Set-Cookie", "c"), ("B", "2"), ("A", "3")]
    assert json.loads(Streamed(200, headers).prelude()) == {
        "statusCode": 200,
        "headers": {"B": "2"},
        "multiValueHeaders": {"A": ["1", "3"]},
        "cookies": ["c"],
    }
    assert Streamed(304, []).prelude() == b'{"statusCode":304,"headers":{}}'


def test_a_prelude_has_no_nul_byte_whatever_its_headers_hold() -> None:
    assert b"\0" not in Streamed(200, [("X", "\0" * 8)]).prelude()


def test_a_prelude_that_does_not_fit_is_refused() -> None:
    room = MAX_PRELUDE - len('{"statusCode":200,"headers":{"X":""}}')
    assert len(Streamed(200, [("X", "x" * room)]).prelude()) == MAX_PRELUDE
    with pytest.raises(ValueError, match="the response's headers have"):
        Streamed(200, [("X", "x" * (room + 1))]).prelude()


def test_a_problem_is_a_response_with_its_headers() -> None:
    response = problem(Unauthenticated(), "request-1")
    (body,) = response.chunks
    assert response.status == 401
    assert dict(response.headers) == {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "WWW-Authenticate": "Bearer",
    }
    assert json.loads(bytes(body))["instance"] == "request-1"


def test_a_problem_for_head_has_the_headers_of_get_and_no_body() -> None:
    response = problem(NotFound(), "request-1", body=False)
    assert list(response.chunks) == []
    assert list(response.headers) == list(problem(NotFound(), "request-1").headers)


def test_a_buffered_answer_is_one_proxy_answer_with_every_byte() -> None:
    body = bytes(range(256))
    source = Source(body[:10], b"", body[10:])
    headers = [("Content-Type", "video/mp4"), ("Vary", "a"), ("Vary", "b"), ("Set-Cookie", "c=1"), ("Set-Cookie", "d")]
    response = Streamed(206, headers, source)
    response.begin()
    answer = buffered(response, "request-1")
    assert answer.pop("body") == base64.b64encode(body).decode()
    assert answer == {
        "statusCode": 206,
        "isBase64Encoded": True,
        "multiValueHeaders": {"Content-Type": ["video/mp4"], "Vary": ["a", "b"], "Set-Cookie": ["c=1", "d"]},
    }
    assert source.closed


def test_a_buffered_answer_need_not_have_begun() -> None:
    assert body_of(buffered(Streamed(200, [], iter([b"a", b"b"])), "request-1")) == b"ab"


def test_a_buffered_problem_is_read_as_it_was_meant() -> None:
    answer = buffered(problem(NotFound(), "request-1"), "request-1")
    assert json.loads(body_of(answer))["type"] == NotFound.type
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/problem+json"]


def test_a_source_that_fails_while_it_is_buffered_is_closed() -> None:
    source = Source(b"a", failure=ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        buffered(Streamed(200, [], source), "request-1")
    assert source.closed


def test_a_buffered_answer_may_be_as_large_as_the_limit_and_no_larger() -> None:
    def whole(padding: int) -> dict[str, Any]:
        return buffered(Streamed(200, [("X", "x" * padding)], iter([bytes(4 * 1024 * 1024)])), "request-1")

    room = MAX_BUFFERED - len(json.dumps(whole(0)))
    fits, refused = whole(room), whole(room + 1)
    assert fits["statusCode"] == 200
    assert len(json.dumps(fits)) == MAX_BUFFERED
    assert refused["statusCode"] == 413
    document = json.loads(body_of(refused))
    assert (document["type"], document["instance"]) == (TooLarge.type, "request-1")
    assert "Range" in document["detail"]
    assert set(refused["multiValueHeaders"]) == {"Content-Type", "Content-Length"}


def test_a_process_runs_in_lambda_when_it_is_told_of_a_runtime_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    assert not streaming.running_in_lambda()
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    assert streaming.running_in_lambda()
