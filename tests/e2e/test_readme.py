"""Runs the tour of README.md as a reader does who pastes it, in each shell that is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import environment
from tests.service import Service

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "dash": []}


def tour() -> str:
    """The blocks of the tour, one after the other."""
    _, _, rest = (ROOT / "README.md").read_text("utf-8").partition("\n## A tour")
    return "".join(_BLOCK.findall(rest.partition("\n## ")[0]))


@pytest.mark.transports("over_http")
@pytest.mark.parametrize("shell", SHELLS)
def test_the_tour_runs_as_it_is_pasted_and_leaves_nothing(service: Service, tmp_path: Path, shell: str) -> None:
    if "AWS_ENDPOINT_URL_S3" not in service.environment:
        pytest.skip("the tour uploads to the local runner's S3 server, and this service names none")
    for program in (shell, "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    env = tmp_path / "env"
    env.write_text("".join(f"{name}={value}\n" for name, value in service.environment.items()), "utf-8")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    # Where the tour finds the runner is all that differs from what is pasted.
    text = tour().replace("http://localhost:3000", service.url).replace("./.local/env", f"'{env}'")
    text = f'set -e\n{text}\necho "left: ${{AWS_SECRET_ACCESS_KEY-nothing}}"\n'
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    before = set(ROOT.iterdir())
    done = subprocess.run(
        [shell, *SHELLS[shell], "-s"],
        input=text,
        cwd=ROOT,
        env=environment.of_child(PATH=path, TMPDIR=str(temporary)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    corporation, _, rest = done.stdout.partition("}")
    assert '"plan":"PAID"' in corporation.replace(" ", "")
    assert rest.split("\n")[-5:] == ["The film has arrived.", "10", "1000", "left: nothing", ""]
    assert list(temporary.iterdir()) == []
    assert set(ROOT.iterdir()) == before


def test_the_tour_has_no_comment_which_an_interactive_zsh_would_run() -> None:
    lines = tour().splitlines()
    assert len(lines) > 20
    assert not [line for line in lines if re.search(r"(^|\s)#", line)]
