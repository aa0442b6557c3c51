"""The functions' user reads and writes rows, and can do nothing else; whoever migrates makes it, on any server."""

import uuid
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from tests.acts import create_database, of_database
from tests.conftest import MIGRATIONS
from tests.service import Services
from vms import migrations
from vms.migrations import APP_ROLE, Login, MigrationError
from vms.reading import READER

type Connection = psycopg.Connection[tuple[Any, ...]]

ROWS = {"SELECT", "INSERT", "UPDATE", "DELETE"}
RIGHTS = """SELECT c.relname, p.privilege FROM pg_class c, unnest(%s::text[]) AS p (privilege)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY('{r,p,v,m,f}')
        AND has_table_privilege('vms_app', c.oid, p.privilege)"""
REFUSED: list[LiteralString] = [
    "CREATE TABLE mine (a int)",
    "CREATE TEMPORARY TABLE mine (a int)",
    "SELECT seq INTO TEMPORARY mine FROM video",
    "CREATE UNLOGGED TABLE mine AS SELECT seq FROM video",
    "CREATE VIEW mine AS SELECT seq FROM video",
    "CREATE SEQUENCE mine",
    "CREATE TYPE mine AS ENUM ('a')",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION pg_trgm",
    "CREATE INDEX mine ON video (name)",
    "CREATE TRIGGER mine BEFORE INSERT ON video FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER TABLE video ADD COLUMN mine text",
    "ALTER TABLE video DISABLE TRIGGER ALL",
    "ALTER TABLE video OWNER TO vms_app",
    "ALTER SCHEMA public OWNER TO vms_app",
    "ALTER DATABASE vms SET statement_timeout = 0",
    "DROP TABLE stream_lease",
    "DROP INDEX ix_video_live",
    "TRUNCATE stream_lease",
    "TRUNCATE corporation CASCADE",
    "SELECT name FROM schema_migration",
    "INSERT INTO schema_migration (name, sha256) VALUES ('9999_mine.sql', '-')",
    "UPDATE schema_migration SET sha256 = '-'",
    "DELETE FROM schema_migration",
    "SELECT setval('video_seq_seq', 1)",
    "COPY video TO PROGRAM 'true'",
    "COPY video TO '/tmp/video'",
    "SELECT nextval('video_seq_seq')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_reload_conf()",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vms'",
    "COMMENT ON TABLE video IS 'mine'",
    "CREATE DOMAIN mine AS int",
    'CREATE COLLATION mine FROM "C"',
    "CREATE RULE mine AS ON INSERT TO video DO INSTEAD NOTHING",
    "CREATE POLICY mine ON video",
    "CREATE PUBLICATION mine",
    "CREATE STATISTICS mine ON seq, name FROM video",
    "REINDEX TABLE video",
    "REASSIGN OWNED BY vms_app TO vms",
    "SET session_replication_role = replica",
    "CREATE DATABASE mine",
    "CREATE ROLE mine",
    "ALTER ROLE vms_app CREATEROLE",
    "ALTER ROLE vms_app SUPERUSER",
    "ALTER ROLE vms_app CONNECTION LIMIT 5",
    "ALTER ROLE vms PASSWORD 'mine'",
    "GRANT vms TO vms_app",
    "SET ROLE vms",
    "SET SESSION AUTHORIZATION vms",
]
# Of what is not its own, PostgreSQL grants nothing with a warning.
WITHOUT_EFFECT: list[LiteralString] = [
    "GRANT SELECT ON video TO PUBLIC",
    "GRANT TRUNCATE ON video TO vms_app",
    "GRANT CREATE ON SCHEMA public TO vms_app",
    "GRANT TEMPORARY ON DATABASE {} TO vms_app",
]


@pytest.fixture(scope="module")
def urls(services: Services) -> tuple[str, str, str]:
    """A database of its own, by the URL of the functions' user, of the owner and of the superuser."""
    app, superuser = create_database(services, "roles")
    return app, of_database(services.database.owner_url, "roles"), superuser


@pytest.fixture
def app(urls: tuple[str, str, str]) -> Iterator[Connection]:
    with psycopg.connect(urls[0], autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(urls: tuple[str, str, str]) -> Iterator[Connection]:
    with psycopg.connect(urls[1], autocommit=True) as connection:
        yield connection


@pytest.fixture
def superuser(urls: tuple[str, str, str]) -> Iterator[Connection]:
    with psycopg.connect(urls[2], autocommit=True) as connection:
        yield connection


def rights(connection: Connection) -> dict[str, set[str]]:
    """Table → what vms_app may do with it, of all that there is."""
    privileges = [*ROWS, "TRUNCATE", "REFERENCES", "TRIGGER"]
    privileges += ["MAINTAIN"] if connection.info.server_version >= 170_000 else []
    found: dict[str, set[str]] = {
        name: set() for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    for table, privilege in connection.execute(RIGHTS, (privileges,)):
        found.setdefault(table, set()).add(privilege)
    return found


def test_the_functions_user_has_four_rights_on_every_table_and_none_on_the_record_of_migrations(
    owner: Connection,
) -> None:
    found = rights(owner)
    assert found.pop("schema_migration") == set()
    assert len(found) >= 8
    assert {table: granted for table, granted in found.items() if granted != ROWS} == {}


@pytest.mark.usefixtures("owner")  # who is connected too
@pytest.mark.parametrize("statement", REFUSED)
def test_the_functions_user_is_refused_what_is_not_about_rows(app: Connection, statement: LiteralString) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement)


@pytest.mark.parametrize("statement", WITHOUT_EFFECT)
def test_the_functions_user_can_give_nothing_to_anybody(
    app: Connection, owner: Connection, statement: LiteralString
) -> None:
    def all_rights() -> list[tuple[Any, ...]]:
        return owner.execute(
            """SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL
            SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname = 'public' UNION ALL
            SELECT datname, datacl::text FROM pg_database ORDER BY 1, 2"""
        ).fetchall()

    before = all_rights()
    app.execute(sql.SQL(statement).format(sql.Identifier(app.info.dbname)))
    assert all_rights() == before


def test_it_owns_nothing_and_is_a_member_of_nothing_but_the_reader(superuser: Connection) -> None:
    query = "SELECT FROM pg_shdepend WHERE refobjid = %s::regrole AND deptype = 'o'"
    assert superuser.execute(query, (APP_ROLE,)).fetchall() == []
    roles = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole"
    assert superuser.execute(roles, (APP_ROLE,)).fetchall() == [(READER,)]  # which may less: test_reading.py
    assert superuser.execute(roles, (READER,)).fetchall() == []
    attributes = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin"
    role = superuser.execute(f"SELECT {attributes} FROM pg_roles WHERE rolname = %s".encode(), (APP_ROLE,)).fetchone()
    assert role == (False, False, False, False, False, True)


def test_a_later_table_of_the_owner_is_granted_by_itself(app: Connection, owner: Connection) -> None:
    owner.execute("CREATE TABLE later (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)")
    try:
        assert rights(owner)["later"] == ROWS
        assert app.execute("INSERT INTO later (name) VALUES ('a') RETURNING seq").fetchone() == (1,)
    finally:
        owner.execute("DROP TABLE later")


def test_the_limits_of_requests_hold_for_the_functions_user(app: Connection) -> None:
    assert {name: app.execute(f"SHOW {name}".encode()).fetchone() for name in migrations.LIMITS} == {
        name: (value,) for name, value in migrations.LIMITS.items()
    }


def test_what_it_changed_of_its_own_log_in_the_next_migration_sets_anew(services: Services, app: Connection) -> None:
    """PostgreSQL lets every role change its own password and defaults."""
    app.execute("ALTER ROLE vms_app SET statement_timeout = 0")
    app.execute("ALTER ROLE vms_app PASSWORD 'another'")
    url, owner_url = services.database.url, services.database.owner_url
    try:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url)
    finally:
        assert migrations.apply(owner_url, MIGRATIONS, app=Login.of(url)) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("10s",)


def test_rights_that_were_lost_the_next_migration_grants_again(
    urls: tuple[str, str, str], app: Connection, owner: Connection
) -> None:
    """Its own DROP OWNED takes those on later tables away; a restoration without privileges, those on all."""
    app.execute("DROP OWNED BY CURRENT_USER")
    owner.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM vms_app")
    assert "UPDATE" not in rights(owner)["video"]
    assert migrations.apply(urls[1], MIGRATIONS) == []
    found = rights(owner)
    assert found.pop("schema_migration") == set()
    assert {table: granted for table, granted in found.items() if granted != ROWS} == {}
    test_a_later_table_of_the_owner_is_granted_by_itself(app, owner)


@pytest.fixture
def stranger(services: Services) -> Iterator[tuple[str, Connection]]:
    """An empty database of an owner who may make no roles: its URL, and the server's superuser in that database."""
    name = f"stranger_{uuid.uuid4().hex}"
    place = sql.Identifier(name)
    with psycopg.connect(services.database.superuser_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'strange'").format(place))
        server.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(place))
        within = make_conninfo(services.database.superuser_url, dbname=name)
        with psycopg.connect(within, autocommit=True) as connection:
            url = of_database(services.database.owner_url, name)
            yield make_conninfo(url, user=name, password="strange"), connection
        server.execute(sql.SQL("DROP DATABASE {}").format(place))
        server.execute(sql.SQL("DROP ROLE {}").format(place))


def test_a_server_that_has_the_role_already_needs_no_other(stranger: tuple[str, Connection]) -> None:
    """A second database of a server, or one restored from a snapshot that brought the role."""
    url, superuser = stranger
    assert migrations.apply(url, MIGRATIONS)[-1] == max(MIGRATIONS.glob("*.sql")).name
    assert {table for table, granted in rights(superuser).items() if granted != ROWS} == {"schema_migration"}


def test_an_owner_who_may_not_change_the_role_is_told(stranger: tuple[str, Connection]) -> None:
    url, _ = stranger
    with pytest.raises(MigrationError, match=r"(?s)could not set up the role vms_app: .*CREATEROLE"):
        migrations.apply(url, MIGRATIONS, app=Login("a password"))


@pytest.fixture
def no_role(stranger: tuple[str, Connection]) -> Iterator[None]:
    """The server has no role vms_app; one that is made is gone afterwards."""
    _, superuser = stranger
    superuser.execute("ALTER ROLE vms_app RENAME TO vms_app_away")
    yield
    if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = 'vms_app'").fetchone():
        superuser.execute("DROP OWNED BY vms_app")
        superuser.execute("DROP ROLE vms_app")
    superuser.execute("ALTER ROLE vms_app_away RENAME TO vms_app")


@pytest.mark.usefixtures("no_role")
def test_an_owner_who_may_not_make_the_role_is_told_the_command_and_a_snapshot_from_before_it_then_gets_it(
    stranger: tuple[str, Connection],
) -> None:
    url, superuser = stranger
    with pytest.raises(
        MigrationError, match=r"may not make the role vms_app: .* run ALTER ROLE \w+ CREATEROLE"
    ) as told:
        migrations.apply(url, MIGRATIONS)
    # What came before it stands, as in a snapshot of that time.
    rows = superuser.execute("SELECT name FROM schema_migration ORDER BY name").fetchall()
    assert [name[:4] for (name,) in rows] == ["0001", "0002", "0003", "0004"]
    superuser.execute(str(told.value).partition(" run ")[2].partition("\n")[0].encode())
    assert migrations.apply(url, MIGRATIONS, app=Login("a new password"))[0].startswith("0005")
    assert {table for table, granted in rights(superuser).items() if granted != ROWS} == {"schema_migration"}
    with psycopg.connect(url, user=APP_ROLE, password="a new password") as connection:
        assert connection.execute("SELECT count(*) FROM video").fetchone() == (0,)


def test_a_schema_in_which_everybody_may_create_is_refused_with_the_command(stranger: tuple[str, Connection]) -> None:
    """As a database is that was made before PostgreSQL 15, whose schema `public` an administrator owns."""
    url, superuser = stranger
    superuser.execute("ALTER SCHEMA public OWNER TO postgres")
    superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(MigrationError, match="vms_app could create tables") as refused:
        migrations.apply(url, MIGRATIONS)
    commands = str(refused.value).partition(" run ")[2].partition("\n")[0]
    superuser.execute(commands.encode())
    assert migrations.apply(url, MIGRATIONS)[0].startswith("0005")


def test_a_user_by_iam_token_is_a_member_of_rds_iam_and_one_by_password_is_not(
    services: Services, superuser: Connection
) -> None:
    """On RDS, a member of rds_iam is asked for a token, and no password lets it in."""

    def is_member() -> bool:
        return superuser.execute("SELECT pg_has_role('vms_app', 'rds_iam', 'MEMBER')").fetchone() == (True,)

    owner_url = services.database.owner_url
    with pytest.raises(MigrationError, match='role "rds_iam" does not exist'):
        migrations.apply(owner_url, MIGRATIONS, app=Login(by_iam=True))
    superuser.execute("CREATE ROLE rds_iam")
    try:
        superuser.execute("GRANT rds_iam TO vms WITH ADMIN OPTION")
        for _ in range(2):
            migrations.apply(owner_url, MIGRATIONS, app=Login(by_iam=True))
            assert is_member()
        migrations.apply(owner_url, MIGRATIONS, app=Login.of(services.database.url))
        assert not is_member()
    finally:
        superuser.execute("DROP ROLE rds_iam")


def test_the_password_is_never_sent(services: Services, superuser: Connection) -> None:
    """A server may log any statement; it gets the verifier that it stores."""
    superuser.execute("ALTER ROLE vms SET log_statement = 'all'")
    log, password = services.database.directory / "log", f"secret-{uuid.uuid4().hex}"
    try:
        migrations.apply(services.database.owner_url, MIGRATIONS, app=Login(password))
    finally:
        superuser.execute("ALTER ROLE vms RESET log_statement")
        migrations.apply(services.database.owner_url, MIGRATIONS, app=Login.of(services.database.url))
    text = log.read_text("utf-8")
    assert 'ALTER ROLE "vms_app" PASSWORD' in text
    assert password not in text
