"""A logged-in client of a service's API, for an operator's commands: it renews its token, waits and tries again."""

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

# Seconds between the tries of a request that the network or the service failed, unless the answer says Retry-After.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_AGAIN = {429, 500, 502, 503, 504}
# An answer may take as long as API Gateway waits for a function, and no part of 64 KiB that long.
_TIMEOUT = urllib3.Timeout(connect=5.0, read=35.0)


class SessionError(Exception):
    """The service refuses, or does not answer; the message says why."""


class RefusedError(SessionError):
    """The service answered with a problem document, by its status and the last word of its type."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        fields = "; ".join(f"{each['field']} {each['message']}" for each in document.get("errors", ()))
        detail = str(document.get("detail") or f"the service answers {status}")
        self.status = status
        self.type = str(document.get("type", "")).rpartition(":")[2]
        super().__init__(f"{detail} {fields}." if self.type == "invalid" else detail)


class Session:
    """One user's session; threads may share it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = urllib3.PoolManager(maxsize=8, timeout=_TIMEOUT, retries=False)
        self._tokens: dict[str, Any] = {}
        self._renewing = threading.Lock()

    def log_in(self, email: str, password: str) -> None:
        """Log in. Raises `SessionError`."""
        try:
            self._tokens = self._send("POST", "/v1/auth/login", {"email": email, "password": password})
        except RefusedError as refusal:
            raise RefusedError(refusal.status, {"detail": f"{email} cannot log in: {refusal}"}) from None

    def log_out(self) -> None:
        """End the session, if the service still answers."""
        try:
            self.call("POST", "/v1/auth/logout", {"refresh_token": self._tokens["refresh_token"]})
        except SessionError:
            return  # it ends by itself

    def call(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """The answer's JSON; `key` is sent as Idempotency-Key. Raises `SessionError`."""
        tokens = self._tokens
        try:
            return self._send(method, path, body, tokens["access_token"], key)
        except RefusedError as refusal:
            if refusal.status != 401:
                raise
        with self._renewing:
            if self._tokens is tokens:
                sent = {"refresh_token": tokens["refresh_token"]}
                self._tokens = self._send("POST", "/v1/auth/refresh", sent)
        return self._send(method, path, body, self._tokens["access_token"], key)

    def _send(self, method: str, path: str, body: object, token: str | None = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        data = None if body is None else json.dumps(body).encode()
        for pause in (*PAUSES, None):
            try:
                answer = self._http.request(method, self.url + path, body=data, headers=headers)
            except urllib3.exceptions.HTTPError as failure:
                if pause is None:
                    raise SessionError(f"{self.url} does not answer: {type(failure).__name__}") from failure
                wait = pause
            else:
                if answer.status < 400:
                    return json.loads(answer.data) if answer.data else None
                if pause is None or answer.status not in _AGAIN or _too_long(answer):
                    raise RefusedError(answer.status, _document(answer))
                wait = max(pause, float(_seconds(answer)))
            time.sleep(wait)
        raise AssertionError  # the last try returns or raises


def _seconds(answer: urllib3.BaseHTTPResponse) -> int:
    text = answer.headers.get("Retry-After", "0")
    return int(text) if text.isdigit() else 0


def _too_long(answer: urllib3.BaseHTTPResponse) -> bool:
    return _seconds(answer) > 60  # such as after too many log-ins: a person is told, and does not wait


def _document(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    try:
        found = json.loads(answer.data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def local_url() -> str:
    """Where `make run` serves. Raises `SessionError` if it does not run."""
    path = Path(os.environ.get("LOCAL_DIR") or ".local") / "env"
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        raise SessionError(
            f"nothing runs here ({path} is missing): start `make run` in another terminal, or say STACK=…"
        ) from None
    return dict(line.split("=", 1) for line in lines if "=" in line)["API_URL"]
