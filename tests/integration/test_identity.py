"""Identity: spellings, unreadable keys, costs of hashes, odd claims, and what ends a session or a playback URL."""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import bcrypt
import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, Person, add_member, expect, found_company, log_in, problem, unique
from tests.e2e.films import put
from tests.service import Services
from vms import aws, database, jwts, keys, passwords
from vms.domain import corporations

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def film(acme: Company, services: Services) -> str:
    return put(services.storage, acme, b"film")


# Spellings.


def test_a_password_is_the_same_however_its_accents_are_composed(http: httpx.Client, acme: Company) -> None:
    composed = "p\u00e9n\u00e9lope \u00e0 paris"
    spellings = [composed, unicodedata.normalize("NFD", composed)]
    for typed in spellings:
        email = f"{unique('accents')}@example.com"
        expect(acme.admin.call("POST", "/v1/users", {"email": email, "password": typed}), 201)
        user = Person(http, 0, email, acme.id, log_in(http, email, spellings[0]))
        log_in(http, email, spellings[1])
        body = {"password": PASSWORD, "current_password": spellings[1]}
        expect(user.call("PUT", f"/v1/users/{user.me()['id']}", body), 200)
        log_in(http, email)


def test_guesses_are_counted_for_all_spellings_of_an_address_together(http: httpx.Client, acme: Company) -> None:
    email = f"\u00e9lodie-i-{unique('x')}@example.com"
    expect(acme.admin.call("POST", "/v1/users", {"email": email, "password": PASSWORD}), 201)
    spellings = [email, email.upper(), unicodedata.normalize("NFD", email), unicodedata.normalize("NFD", email.upper())]
    for number in range(10):
        body = {"email": spellings[number % 4], "password": "wrong password"}
        problem(http.post("/v1/auth/login", json=body), 401, "unauthenticated")
    for spelled in spellings:
        answer = http.post("/v1/auth/login", json={"email": spelled, "password": PASSWORD})
        problem(answer, 429, "too-many-attempts")
    # Another letter, whatever a locale says of it, is another address: nobody's.
    dotted = {"email": email.replace("-i-", "-\u0130-"), "password": PASSWORD}
    problem(http.post("/v1/auth/login", json=dotted), 401, "unauthenticated")


def test_names_that_look_alike_are_one_name(http: httpx.Client) -> None:
    company = found_company(http)
    name = company.name
    body = {"admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD}
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isalnum() else letter for letter in name)
    for alike in (name, name.upper(), f" {name} ", wide, name.replace("-", "-\u200d", 1)):
        problem(http.post("/v1/corporations", json={**body, "name": alike}), 409, "conflict")
    for invisible in (f"{name}\u200b", f"\u2060{name}", f"{name}\u202e", f"{name}\u200d"):
        problem(http.post("/v1/corporations", json={**body, "name": invisible}), 422, "invalid")


def test_a_body_that_is_not_utf_8_is_400(http: httpx.Client, acme: Company) -> None:
    body = b'{"email": "%s", "password": "correct \xff horse"}' % acme.guest.email.encode()
    for media_type in ("application/json", "video/mp4"):  # API Gateway passes on the bytes of the second
        answer = http.post("/v1/auth/login", content=body, headers={"Content-Type": media_type})
        problem(answer, 400, "bad-json")


# Keys.


class SecretsManager:
    """Answers GetSecretValue as `answer` says: with a status and a body, or never (None). Counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: tuple[int, bytes] | None = (200, self.secret("one"))
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                if outer.answer is None:
                    outer.released.wait(30)
                    return
                status, body = outer.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @staticmethod
    def secret(kid: str) -> bytes:
        return json.dumps({"SecretString": json.dumps({"current": kid, "one": "o" * 40, kid: kid[0] * 40})}).encode()

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, setting: Callable[[str, str], None]) -> Iterator[SecretsManager]:
    made = SecretsManager()
    port = made.server.server_address[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(aws, "TIMEOUT", 0.2)
    setting("JWT_KEYS", "arn:aws:secretsmanager:us-east-1:123456789012:secret:keys")
    yield made
    made.stop()


def age(name: str, seconds: float) -> None:
    """Make a moment of vms.keys lie so long ago."""
    monotonic, wall = getattr(keys, name)
    setattr(keys, name, (monotonic - seconds, wall - seconds))


BROKEN: dict[str, tuple[int, bytes] | None] = {
    "refuses": (500, b"{}"),
    "hangs": None,
    "no JSON": (200, b"<html>"),
    "no text": (200, b"{}"),
    "no object": (200, b"[]"),
    "no keys": (200, b'{"SecretString": "{}"}'),
    "a short key": (200, json.dumps({"SecretString": '{"current": "a", "a": "short"}'}).encode()),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_stale_keys_stay_while_they_cannot_be_read_and_are_tried_once_in_30_seconds(
    acme: Company, secrets: SecretsManager, answer: tuple[int, bytes] | None
) -> None:
    token = jwts.issue("access", acme.guest.id, acme.id, "guest", 60)
    headers = {"Authorization": f"Bearer {token}"}
    assert secrets.asked == 1
    secrets.answer = answer
    age("_loaded_at", keys.STALE_AFTER)
    age("_tried_at", keys.STALE_AFTER)
    for attempts in (2, 3):
        for _ in range(5):
            assert acme.guest.http.get("/v1/auth/me", headers=headers).status_code == 200
            assert keys.key_of("newer") is None  # nor does an unknown kid ask more often
        assert secrets.asked == attempts
        age("_tried_at", keys.RELOAD_AFTER)
    secrets.answer = (200, secrets.secret("two"))
    assert keys.signing_key()[0] == "two"
    assert acme.guest.http.get("/v1/auth/me", headers=headers).status_code == 200


def test_one_attempt_at_a_time_and_nobody_else_waits_for_it(secrets: SecretsManager, monkeypatch: Any) -> None:
    monkeypatch.setattr(aws, "TIMEOUT", 10.0)
    assert keys.signing_key()[0] == "one"
    secrets.answer = None
    age("_loaded_at", keys.STALE_AFTER)
    age("_tried_at", keys.STALE_AFTER)
    first = threading.Thread(target=keys.generation)
    first.start()
    while secrets.asked < 2:
        time.sleep(0.01)
    age("_tried_at", keys.RELOAD_AFTER)  # even then
    assert keys.signing_key()[0] == "one"
    assert first.is_alive()
    assert secrets.asked == 2
    secrets.released.set()
    first.join()


@pytest.mark.parametrize("answer", [(500, b"{}"), None, (200, b"<html>")], ids=["refuses", "hangs", "no JSON"])
def test_without_any_keys_every_route_is_503_until_there_are_some(
    acme: Company, secrets: SecretsManager, answer: tuple[int, bytes] | None
) -> None:
    secrets.answer = answer
    body = {"email": acme.guest.email, "password": PASSWORD}
    for ask in (
        acme.guest.get("/v1/auth/me"),
        acme.guest.get("/v1/videos/stream/1"),
        acme.guest.http.post("/v1/auth/login", json=body),
    ):
        problem(ask, 503, "unavailable")
        assert int(ask.headers["Retry-After"]) > 0
    secrets.answer = (200, secrets.secret("one"))
    log_in(acme.guest.http, acme.guest.email)


# Costs.


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of each bcrypt hash from here on."""
    rounds: list[int] = []

    class Counting:
        gensalt = staticmethod(bcrypt.gensalt)

        @staticmethod
        def hashpw(password: bytes, salt: bytes) -> bytes:
            rounds.append(2 ** int(salt[4:6]))
            return bcrypt.hashpw(password, salt)

        @staticmethod
        def checkpw(password: bytes, hashed: bytes) -> bool:
            rounds.append(2 ** int(hashed[4:6]))
            return bcrypt.checkpw(password, hashed)

    monkeypatch.setattr(passwords, "bcrypt", Counting)
    return rounds


def stored(user: Person) -> str:
    row = database.fetch_one('SELECT password FROM "user" WHERE seq = %(id)s', {"id": user.id})
    assert row is not None
    return str(row["password"])


@pytest.mark.parametrize("cost", ["4", "7"])
def test_a_failed_log_in_costs_the_same_work_whatever_is_stored(
    acme: Company, setting: Callable[[str, str], None], work: list[int], cost: str
) -> None:
    cheap = add_member(acme.admin)
    setting("BCRYPT_COST", "6")
    dear = add_member(acme.admin)
    assert [passwords.cost_of(stored(user)) for user in (cheap, dear)] == [4, 6]
    setting("BCRYPT_COST", cost)
    spent = []
    for email in (cheap.email, dear.email, f"{unique('nobody')}@example.com"):
        for guess in ("wrong password", "x" * 100, "\u0000" * 9):
            work.clear()
            answer = acme.guest.http.post("/v1/auth/login", json={"email": email, "password": guess})
            problem(answer, 401, "unauthenticated")
            spent.append(sum(work))
    assert set(spent) == {2 ** max(6, int(cost))}
    assert acme.admin.call("DELETE", f"/v1/users/{dear.id}").status_code == 204


@pytest.mark.parametrize("cost", ["4", "6"])
def test_a_log_in_hashes_anew_where_the_cost_has_changed_and_ends_nothing(
    acme: Company, setting: Callable[[str, str], None], film: str, cost: str
) -> None:
    setting("BCRYPT_COST", "5")
    user = add_member(acme.admin)
    video = acme.video(file_path=film)
    path = playback(user, video)
    before = stored(user)
    setting("BCRYPT_COST", cost)
    log_in(user.http, user.email)
    after = stored(user)
    assert (passwords.cost_of(before), passwords.cost_of(after)) == (5, int(cost))
    log_in(user.http, user.email)
    assert stored(user) == after
    expect(refresh(user), 200)
    assert user.http.get(path).content == b"film"


# Claims.


def forged(typ: str, user: Person, changes: str = "", **more: int) -> str:
    """A token signed with the right key, with `changes` as raw JSON members after the usual ones."""
    now = int(time.time())
    claims = {"iss": "vms", "aud": "vms", "sub": str(user.id), "cid": user.corporation_id, "role": "guest", "typ": typ}
    claims |= {"jti": "x", "iat": now, "exp": now + 60, **more}
    payload = json.dumps(claims)[:-1] + changes + "}"
    head, body = (
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in ('{"alg":"HS256","kid":"test"}', payload)
    )
    signature = hmac.new(b"t" * 40, head + b"." + body, hashlib.sha256).digest()
    return b".".join((head, body, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


@pytest.mark.parametrize("ahead", [0, 2, 4])
def test_a_token_of_a_clock_that_is_a_little_ahead_is_accepted(acme: Company, ahead: int) -> None:
    token = forged("access", acme.guest, iat=int(time.time()) + ahead, nbf=int(time.time()) + ahead)
    assert acme.guest.http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_of_a_clock_that_is_far_ahead_is_401(acme: Company, claim: str) -> None:
    token = forged("access", acme.guest, f', "{claim}": {int(time.time()) + 60}')
    problem(acme.guest.http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"}), 401, "unauthenticated")


ODD = ["1e400", "-1e400", "NaN", "null", "[]", "{}", '"x"', "true", "-1", "0", str(2**63), str(10**400), "1e18", '""']


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("claim", ["exp", "cid", "sub", "typ", "iss", "aud", "iat", "nbf", "epoch", "vid"])
def test_an_odd_claim_under_a_right_signature_is_never_a_server_error(
    acme: Company, film: str, claim: str, odd: str
) -> None:
    change = f', "{claim}": {odd}'
    http, video = acme.guest.http, 1
    token = forged("access", acme.guest, change)
    answers = [http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"})]
    answers.append(http.post("/v1/auth/refresh", json={"refresh_token": forged("refresh", acme.guest, change)}))
    answers.append(
        http.get(f"/v1/videos/stream/{video}?token={forged('playback', acme.guest, change, vid=1, epoch=0)}")
    )
    accepted = {200, 404} if claim in {"epoch", "vid", "iat", "nbf", "exp"} else set()
    for answer in answers:
        assert answer.status_code in {401, *accepted}, answer.text
    if claim in {"exp", "cid"} and odd in {"1e400", "-1e400", "NaN", "true"}:
        assert [answer.status_code for answer in answers] == [401] * 3


# What ends a session or a playback URL.


def refresh(user: Person, token: str | None = None) -> httpx.Response:
    return user.http.post("/v1/auth/refresh", json={"refresh_token": token or user.tokens["refresh_token"]})


def playback(user: Person, video: int) -> str:
    url = expect(user.call("POST", f"/v1/videos/{video}/playback"), 200)["url"]
    return re.sub(r"^https?://[^/]+", "", url)


def test_without_a_reuse_window_a_second_use_revokes_the_family_at_once(
    acme: Company, setting: Callable[[str, str], None]
) -> None:
    user = add_member(acme.admin)
    setting("REFRESH_REUSE_SECONDS", "0")
    second = expect(refresh(user), 200)["refresh_token"]
    problem(refresh(user), 401, "unauthenticated")
    problem(refresh(user, second), 401, "unauthenticated")


@pytest.mark.parametrize(("seconds", "status"), [(9, 200), (11, 401)])
def test_a_second_use_after_the_window_revokes_the_family(acme: Company, seconds: int, status: int) -> None:
    user = add_member(acme.admin)
    second = expect(refresh(user), 200)["refresh_token"]
    database.fetch_all(
        "UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => %(secs)s) WHERE user_id = %(id)s",
        {"id": user.id, "secs": seconds},
    )
    expect(refresh(user), status)
    expect(refresh(user, second), status)


def test_a_token_that_was_logged_out_within_its_window_stays_revoked(acme: Company) -> None:
    user = add_member(acme.admin)
    second = expect(refresh(user), 200)["refresh_token"]
    expect(user.call("POST", "/v1/auth/logout", {"refresh_token": second}), 204)
    for token in (user.tokens["refresh_token"], second):
        problem(refresh(user, token), 401, "unauthenticated")


ENDS: dict[str, Callable[[Company, Person], httpx.Response]] = {
    "log out everywhere": lambda _, user: user.call("DELETE", f"/v1/tokens/{user.id}"),
    "logged out by an admin": lambda company, user: company.admin.call("DELETE", f"/v1/tokens/{user.id}"),
    "new password": lambda _, user: user.call(
        "PUT", f"/v1/users/{user.id}", {"password": "another horse 2", "current_password": PASSWORD}
    ),
    "new password by an admin": lambda company, user: company.admin.call(
        "PUT", f"/v1/users/{user.id}", {"password": "another horse 2"}
    ),
    "deleted": lambda company, user: company.admin.call("DELETE", f"/v1/users/{user.id}"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_playback_url_ends_with_the_sessions_of_its_user(
    acme: Company, film: str, end: Callable[[Company, Person], httpx.Response]
) -> None:
    user, other = add_member(acme.admin), add_member(acme.admin)
    video = acme.video(file_path=film)
    old, others = playback(user, video), playback(other, video)
    assert user.http.get(old).content == b"film"
    assert end(acme, user).is_success
    problem(user.http.get(old), 401, "unauthenticated")
    problem(refresh(user), 401, "unauthenticated")
    assert user.http.get(others).content == b"film"


def test_a_playback_url_outlives_the_end_of_one_session_and_a_new_role(acme: Company, film: str) -> None:
    user = add_member(acme.admin)
    path = playback(user, acme.video(file_path=film))
    expect(user.call("POST", "/v1/auth/logout", {"refresh_token": user.tokens["refresh_token"]}), 204)
    expect(acme.admin.call("PUT", f"/v1/users/{user.id}", {"role": "admin"}), 200)
    assert user.http.get(path).content == b"film"


# Plans.


@pytest.mark.parametrize("after_the_job", [False, True])
def test_a_plan_that_has_expired_begins_anew_whether_or_not_the_job_has_run(
    http: httpx.Client, *, after_the_job: bool
) -> None:
    company = found_company(http, plan_expire_at="2020-01-01T00:00:00Z")
    if after_the_job:
        assert corporations.expire_plans() >= 1
    made = expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", {"plan": "PAID"}), 200)
    assert (made["plan"], made["plan_expire_at"]) == ("PAID", None)
    end = "2090-01-01T00:00:00Z"
    expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", {"plan_expire_at": end}), 200)
    made = expect(company.admin.call("PUT", f"/v1/corporations/{company.id}", {"plan": "PAID"}), 200)
    assert (made["plan"], made["plan_expire_at"]) == ("PAID", end)


@pytest.mark.parametrize("after_the_job", [False, True])
def test_an_expired_plan_takes_no_end_without_a_plan(http: httpx.Client, *, after_the_job: bool) -> None:
    company = found_company(http, plan_expire_at="2020-01-01T00:00:00Z")
    if after_the_job:
        assert corporations.expire_plans() >= 1
    body = {"plan_expire_at": "2090-01-01T00:00:00Z"}
    problem(company.admin.call("PUT", f"/v1/corporations/{company.id}", body), 422, "invalid")
