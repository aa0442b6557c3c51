"""What ships, and what is known about it: licences, vulnerabilities, secrets of old versions."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops import audit, history, licences
from tests import environment

HOLE = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": []}]}
SOUND = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "a", "skip_reason": "not found"}


def test_the_list_of_licences_is_up_to_date() -> None:
    assert licences.TARGET.read_text("utf-8") == licences.text()


def test_what_ships_is_under_a_permissive_licence_but_for_psycopg() -> None:
    assert set(licences.EXCEPTIONS) < set(licences.shipped())
    assert licences.unexpected() == {}


def test_a_package_under_another_licence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "licence", lambda name: "GPL-3.0-only" if name == "six" else "MIT")
    monkeypatch.setattr(licences, "EXCEPTIONS", {})
    assert licences.unexpected() == {"six": "GPL-3.0-only"}


@pytest.mark.parametrize(
    ("answers", "code", "required"),
    [
        (["no network"], 0, 1),
        ([[UNKNOWN]], 0, 1),
        ([[HOLE], [SOUND], [SOUND]], 0, 0),
        ([[HOLE], [SOUND], [HOLE]], 1, 1),
        ([[HOLE], [SOUND, UNKNOWN], [SOUND]], 0, 1),
        ([[HOLE], [SOUND], "no network"], 0, 1),
    ],
)
def test_a_known_vulnerability_fails_the_audit_and_a_service_that_does_not_answer_where_it_must(
    answers: list[Any], code: int, required: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, expected in (([], code), (["--required"], required)):
        coming = iter(answers)
        monkeypatch.setattr(audit, "ask", lambda _file, coming=coming: next(coming))
        assert audit.main(arguments) == expected
        assert list(coming) == []


def test_lines_that_are_gone_and_messages_are_searched_for_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, target = tmp_path / "repository", tmp_path / "target"
    (repository / "place").mkdir(parents=True)
    monkeypatch.setattr(history, "ROOT", repository)

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
        command = ["git", *who, *arguments]
        subprocess.run(command, cwd=repository, env=environment.of_child(), check=True, capture_output=True)

    git("init")
    for content, message in (("one\nsecret\n", "A message"), ("one\ntwo\n", "Gone")):
        (repository / "place" / "file.txt").write_text(content)
        git("add", "--all")
        git("commit", "--message", message)
    assert history.write(target) == 2
    (file,) = target.glob("*/place/file.txt")
    assert sorted(file.read_text().split()) == ["one", "secret", "two"]
    (messages,) = target.glob("*/commit messages")
    assert messages.read_text().split("\n") == ["Gone", "", "A message", ""]
