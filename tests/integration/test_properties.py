"""Any order of everything that callers and the schedule do keeps the promises about data."""

import itertools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.acts import Stage, create_database, staged
from tests.e2e.clients import PASSWORD, Person, expect, log_in, unique
from tests.in_process import context, load
from tests.service import Services
from vms.canonical import email_key

pytestmark = pytest.mark.usefixtures("environment")

PAST, FUTURE = "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"
PLANS: list[tuple[str, str | None]] = [("FREE", None), ("PAID", None), ("PAID", PAST), ("PAID", FUTURE)]
MOST_COMPANIES = 4

# What must be zero in a database, whatever has happened.
NEVER = {
    "points that are not the sum of the user's views": """SELECT count(*) FROM "user" u WHERE u.point <>
        (SELECT coalesce(sum(l.point), 0) FROM video_view_log l WHERE l.user_id = u.seq)""",
    "second views of a video by a user": """SELECT count(*) - count(DISTINCT (user_id, video_id))
        FROM video_view_log""",
    "points that no report counts, or counts twice": """SELECT abs(
        (SELECT coalesce(sum(point), 0) FROM video_view_log) - (SELECT coalesce(sum(points), 0) FROM activity)
        - (SELECT coalesce(sum(t.points), 0) FROM (SELECT DISTINCT ON (r.subject) r.points FROM activity_total r
           WHERE r.kind = 'video' ORDER BY r.subject, r.bucket DESC) t))""",
    "views of another corporation's video": """SELECT count(*) FROM video_view_log l JOIN "user" u ON u.seq = l.user_id
        JOIN video v ON v.seq = l.video_id WHERE u.corporation_id <> v.corporation_id""",
    "live corporations without a live admin": """SELECT count(*) FROM corporation c
        WHERE c.deleted_at IS NULL AND NOT EXISTS
        (SELECT FROM "user" u WHERE u.corporation_id = c.seq AND u.role = 'admin' AND u.deleted_at IS NULL)""",
    "live users of deleted corporations": """SELECT count(*)
        FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
        WHERE u.deleted_at IS NULL AND c.deleted_at IS NOT NULL""",
    "live videos of deleted corporations": """SELECT count(*)
        FROM video v JOIN corporation c ON c.seq = v.corporation_id
        WHERE NOT v.deleted AND c.deleted_at IS NOT NULL""",
    "live sessions of deleted users": """SELECT count(*) FROM refresh_token t JOIN "user" u ON u.seq = t.user_id
        WHERE t.revoked_at IS NULL AND u.deleted_at IS NOT NULL""",
    "FREE plans with an end": """SELECT count(*) FROM corporation
        WHERE plan_type = 'FREE' AND plan_expired_at IS NOT NULL""",
}


@dataclass
class Token:
    text: str
    used: bool = False


@dataclass
class Family:
    tokens: list[Token]
    revoked: bool = False


@dataclass
class Video:
    id: int
    company: "Corporation"
    deleted: bool = False

    @property
    def live(self) -> bool:
        return not self.deleted and self.company.live


@dataclass
class Player:
    """A playback URL's path, and whether it was revoked."""

    path: str
    video: Video
    revoked: bool = False


@dataclass
class Member:
    person: Person
    company: "Corporation"
    role: str
    password: str = PASSWORD
    live: bool = True
    points: dict[int, int] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)
    players: list[Player] = field(default_factory=list)

    def revoke(self) -> None:
        for family in self.families:
            family.revoked = True
        for player in self.players:
            player.revoked = True


@dataclass
class Corporation:
    id: int
    name: str
    plan: tuple[str, str | None]
    live: bool = True
    members: list[Member] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)

    @property
    def admins(self) -> list[Member]:
        return [each for each in self.members if each.live and each.role == "admin"]


PICK = st.integers(0, 999)


class Service(RuleBasedStateMachine):
    """The service beside a model of it.

    Each rule picks who does what to what by numbers, and knows the right answer.
    """

    stage: ClassVar[Stage]
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.companies: list[Corporation] = []
        self.steps = 0

    # What there is, live or not.

    def all_members(self) -> list[Member]:
        return [member for company in self.companies for member in company.members]

    def all_videos(self) -> list[Video]:
        return [video for company in self.companies for video in company.videos]

    def live_companies(self) -> list[Corporation]:
        return [company for company in self.companies if company.live]

    def admin(self, pick: int) -> Member:
        """An admin of a live company, which has one by the invariant."""
        admins = [member for company in self.live_companies() for member in company.admins]
        return admins[pick % len(admins)]

    def own_video(self, admin: Member, pick: int) -> Video | None:
        return admin.company.videos[pick % len(admin.company.videos)] if admin.company.videos else None

    # Corporations.

    @initialize()
    def two_companies(self) -> None:
        self.stage.own.execute("TRUNCATE corporation CASCADE")
        self.stage.own.execute("DELETE FROM activity_total WHERE kind <> 'roll-up'")  # no foreign key leads here
        for number, plan in enumerate((PLANS[0], PLANS[1])):
            self.sign_up(plan)
            for _ in range(2):
                self.add_video(number)
            self.delete_video(number, 0)

    @precondition(lambda self: len(self.companies) < MOST_COMPANIES)
    @rule(plan=st.sampled_from(PLANS))
    def sign_up(self, plan: tuple[str, str | None]) -> None:
        name = unique("company")
        email = f"{name}@example.com"
        body = {"name": name, "plan": plan[0], "admin_email": email, "admin_password": PASSWORD}
        made = expect(self.stage.http.post("/v1/corporations", json={**body, "plan_expire_at": plan[1]}), 201)
        company = Corporation(made["id"], name, plan)
        self.stage.share_film(company.id)
        self.companies.append(company)
        self.join(company, email, "admin")

    def join(self, company: Corporation, email: str, role: str) -> None:
        tokens = log_in(self.stage.http, email)
        person = Person(self.stage.http, 0, email, company.id, tokens)
        person.id = person.me()["id"]
        company.members.append(Member(person, company, role, families=[Family([Token(tokens["refresh_token"])])]))

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK, plan=st.sampled_from(PLANS))
    def change_plan(self, pick: int, plan: tuple[str, str | None]) -> None:
        admin = self.admin(pick)
        body = {"plan": plan[0], "plan_expire_at": plan[1]}
        made = expect(admin.person.call("PUT", f"/v1/corporations/{admin.company.id}", body), 200)
        assert (made["plan"], made["plan_expire_at"]) == plan
        admin.company.plan = plan

    @rule()
    def run_the_schedule(self) -> None:
        due = [company for company in self.companies if company.plan == ("PAID", PAST)]
        assert load("plan_expiry").lambda_handler({}, context())["plans_expired"] == len(due)
        for company in due:
            company.plan = ("FREE", None)

    @precondition(lambda self: len(self.live_companies()) > 2)
    @rule(pick=PICK)
    def delete_corporation(self, pick: int) -> None:
        admin = self.admin(pick)
        expect(admin.person.call("DELETE", f"/v1/corporations/{admin.company.id}"), 204)
        admin.company.live = False
        for member in admin.company.members:
            member.live = False
            member.revoke()

    # Members.

    @precondition(lambda self: self.live_companies())
    @rule(
        pick=PICK, role=st.sampled_from(["admin", "guest"]), taken=st.sampled_from([None, "as it is", "upper", "NFD"])
    )
    def add_user(self, pick: int, role: str, taken: str | None) -> None:
        admin = self.admin(pick)
        email = f"\u00e9-{unique('member')}@example.com"
        if taken is not None:
            email = self.all_members()[pick % len(self.all_members())].person.email
            email = {"upper": email.upper(), "NFD": unicodedata.normalize("NFD", email)}.get(taken, email)
        living = {email_key(member.person.email) for member in self.all_members() if member.live}
        answer = admin.person.call("POST", "/v1/users", {"email": email, "password": PASSWORD, "role": role})
        expect(answer, 409 if email_key(email) in living else 201)
        if answer.status_code == 201:
            self.join(admin.company, email, role)

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK, which=PICK)
    def delete_user(self, pick: int, which: int) -> None:
        admin = self.admin(pick)
        member = admin.company.members[which % len(admin.company.members)]
        last = member.live and admin.company.admins == [member]
        answer = admin.person.call("DELETE", f"/v1/users/{member.person.id}")
        expect(answer, 409 if last else 204 if member.live else 404)
        if answer.status_code == 204:
            member.live = False
            member.revoke()

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK, which=PICK, role=st.sampled_from(["admin", "guest"]))
    def change_role(self, pick: int, which: int, role: str) -> None:
        admin = self.admin(pick)
        member = admin.company.members[which % len(admin.company.members)]
        last = role == "guest" and member.live and admin.company.admins == [member]
        answer = admin.person.call("PUT", f"/v1/users/{member.person.id}", {"role": role})
        expect(answer, 409 if last else 200 if member.live else 404)
        if answer.status_code == 200:
            member.role = role

    @rule(which=PICK)
    def change_own_password(self, which: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        new = f"another horse {next(self.numbers)}"
        body = {"password": new, "current_password": member.password}
        answer = member.person.call("PUT", f"/v1/users/{member.person.id}", body)
        expect(answer, 200 if member.live else 401)
        if member.live:
            member.password = new
            member.revoke()

    # Sessions.

    @rule(which=PICK)
    def begin_session(self, which: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        body = {"email": member.person.email, "password": member.password}
        answer = self.stage.http.post("/v1/auth/login", json=body)
        owner = [
            each
            for each in self.all_members()
            if each.live and email_key(each.person.email) == email_key(body["email"])
        ]
        if owner and owner[0].password == member.password:  # the address may have become another's
            token = expect(answer, 200)["refresh_token"]
            owner[0].families.append(Family([Token(token)]))
        else:
            expect(answer, 401)

    @rule(which=PICK, family=PICK, token=PICK)
    def refresh(self, which: int, family: int, token: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        found = member.families[family % len(member.families)]
        used = found.tokens[token % len(found.tokens)]
        answer = self.stage.http.post("/v1/auth/refresh", json={"refresh_token": used.text})
        if found.revoked:
            expect(answer, 401)
        elif answer.status_code == 200 or not used.used:
            found.tokens.append(Token(expect(answer, 200)["refresh_token"]))
            used.used = True
        else:  # used before, and a successor was too, or too long ago
            expect(answer, 401)
            found.revoked = True

    @rule(which=PICK, family=PICK, token=PICK)
    def log_out(self, which: int, family: int, token: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        found = member.families[family % len(member.families)]
        body = {"refresh_token": found.tokens[token % len(found.tokens)].text}
        expect(member.person.call("POST", "/v1/auth/logout", body), 204 if member.live else 401)
        found.revoked = True

    @rule(which=PICK)
    def log_out_everywhere(self, which: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        expect(member.person.call("DELETE", f"/v1/tokens/{member.person.id}"), 204 if member.live else 401)
        member.revoke()

    # Videos.

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK)
    def add_video(self, pick: int) -> None:
        admin = self.admin(pick)
        made = expect(admin.person.call("POST", "/v1/videos", {"name": "v", "file_path": self.stage.film}), 201)
        admin.company.videos.append(Video(made["id"], admin.company))

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK, which=PICK)
    def delete_video(self, pick: int, which: int) -> None:
        admin = self.admin(pick)
        if video := self.own_video(admin, which):
            expect(admin.person.call("DELETE", f"/v1/videos/{video.id}"), 404 if video.deleted else 204)
            video.deleted = True

    @precondition(lambda self: self.live_companies())
    @rule(pick=PICK, which=PICK)
    def restore_video(self, pick: int, which: int) -> None:
        admin = self.admin(pick)
        gone = [video for video in admin.company.videos if video.deleted]
        if video := gone[which % len(gone)] if gone and which % 4 else self.own_video(admin, which):
            paid = admin.company.plan[0] == "PAID" and admin.company.plan[1] != PAST
            answer = admin.person.call("PUT", f"/v1/videos/{video.id}/restore")
            expect(answer, 404 if not video.deleted else 200 if paid else 403)
            video.deleted = video.deleted and not paid

    @precondition(lambda self: self.all_videos())
    @rule(which=PICK, video=PICK, points=st.sampled_from([10, 10, 0]))
    def view(self, which: int, video: int, points: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        viewed = self.all_videos()[video % len(self.all_videos())]
        right = 401 if not member.live else 404 if viewed.company is not member.company or viewed.deleted else 200
        if points:
            assert member.person.get(f"/v1/videos/stream/{viewed.id}").status_code == right
        else:
            made = 201 if right == 200 and viewed.id not in member.points else right
            expect(member.person.call("POST", "/v1/view-logs", {"video_id": viewed.id}), made)
        if right == 200:
            member.points[viewed.id] = max(points, member.points.get(viewed.id, 0))

    @precondition(lambda self: self.all_videos())
    @rule(which=PICK, video=PICK)
    def make_playback_url(self, which: int, video: int) -> None:
        member = self.all_members()[which % len(self.all_members())]
        viewed = self.all_videos()[video % len(self.all_videos())]
        answer = member.person.call("POST", f"/v1/videos/{viewed.id}/playback")
        right = 401 if not member.live else 404 if viewed.company is not member.company or viewed.deleted else 200
        if made := expect(answer, right) if right == 200 else None:
            member.players.append(Player(httpx.URL(made["url"]).raw_path.decode(), viewed))

    @rule(which=PICK, player=PICK)
    def play(self, which: int, player: int) -> None:
        players = [(member, each) for member in self.all_members() for each in member.players]
        if players:
            member, each = players[player % len(players)]
            status = self.stage.http.get(each.path).status_code
            assert status == (401 if each.revoked else 404 if each.video.deleted else 200)
            if status == 200:
                member.points[each.video.id] = 10

    # What holds after each of them.

    @invariant()
    def the_database_keeps_its_promises(self) -> None:
        for what, query in NEVER.items():
            assert self.stage.value(query) == 0, what

    @invariant()
    def everybody_has_the_points_of_its_views(self) -> None:
        found = dict(self.stage.own.execute('SELECT seq, point FROM "user"').fetchall())
        for member in self.all_members():
            assert found[member.person.id] == sum(member.points.values())

    @invariant()
    def the_companies_are_as_they_should_be(self) -> None:
        for company in self.companies:
            live = self.stage.value("SELECT count(*) FROM video WHERE corporation_id = %s AND NOT deleted", company.id)
            assert live == sum(video.live for video in company.videos)
            users = self.stage.value(
                'SELECT count(*) FROM "user" WHERE corporation_id = %s AND deleted_at IS NULL', company.id
            )
            assert users == sum(member.live for member in company.members)

    @invariant()
    def nothing_of_another_company_is_seen(self) -> None:
        """One pair of a member and another company's thing a step; all of them at the end."""
        pairs = list(self.strangers())
        self.steps += 1
        if pairs:
            self.is_404(*pairs[self.steps * 7 % len(pairs)])

    def strangers(self) -> Iterator[tuple[Member, str, str]]:
        for member in (each for each in self.all_members() if each.live):
            for company in (each for each in self.companies if each is not member.company):
                yield member, "GET", f"/v1/corporations/id/{company.id}"
                yield member, "GET", f"/v1/corporations/{company.name}"
                yield member, "GET", f"/v1/videos/{company.id}"
                yield member, "DELETE", f"/v1/corporations/{company.id}"
                for other in company.members:
                    for path in ("users/id", "tokens", "view-logs"):
                        yield member, "GET", f"/v1/{path}/{other.person.id}"
                    for path in ("users", "tokens"):
                        yield member, "DELETE", f"/v1/{path}/{other.person.id}"
                for video in company.videos:
                    for path in ("id", "stream"):
                        yield member, "GET", f"/v1/videos/{path}/{video.id}"
                    yield member, "POST", f"/v1/videos/{video.id}/playback"
                    yield member, "DELETE", f"/v1/videos/{video.id}"
                    yield member, "PUT", f"/v1/videos/{video.id}/restore"

    def is_404(self, member: Member, method: str, path: str) -> None:
        answer = member.person.call(method, path)
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code}"

    def teardown(self) -> None:
        for pair in itertools.islice(self.strangers(), 0, None, 5):
            self.is_404(*pair)
        for member in self.all_members():
            for token in (token for family in member.families if family.revoked for token in family.tokens):
                expect(self.stage.http.post("/v1/auth/refresh", json={"refresh_token": token.text}), 401)
            for player in (player for player in member.players if player.revoked):
                assert self.stage.http.get(player.path).status_code == 401


@pytest.fixture(scope="module")
def stage(http: httpx.Client, services: Services) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGIN_ATTEMPTS", "1000000")  # the limit is not what is tried here
        with staged(http, services, *create_database(services, "properties")) as found:
            yield found


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.deep)])
def test_any_order_of_requests_keeps_the_promises(stage: Stage, examples: int) -> None:
    Service.stage = stage
    run_state_machine_as_test(
        Service,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
