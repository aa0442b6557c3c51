"""The operator's command line: `python -m ops COMMAND`, as the Makefile's targets call it."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TextIO

from ops import deploy, deployed, destroy, operator, parameters, upload_command
from ops.session import SessionError

# What goes on after Ctrl-C.
STOPPED = {
    "migrate": "stopped waiting: the migration goes on, and its log is the function's",
    "rotate-keys": "stopped: the old key signs on; run it again to rotate",
    "upload": "stopped: run it again to go on with what is missing",
    "deploy": "stopped waiting: CloudFormation goes on with what it has begun",
    "destroy": "stopped: CloudFormation goes on with what it has begun; run it again for what is left",
    "operator": "stopped waiting: the function goes on with what it has begun; run it again to see its end",
}


def main(arguments: list[str]) -> int:
    """Run a command; the exit code is returned."""
    options = _parser().parse_args(arguments)
    if region := os.environ.get("AWS_REGION"):  # the AWS CLI prefers it; botocore and sam do not read it
        os.environ["AWS_DEFAULT_REGION"] = region
    try:
        if options.command == "operator":
            operator.run(os.environ, sys.stdout, input if sys.stdin.isatty() else None)
        else:
            print(_run(options))
    except (deployed.DeployedError, SessionError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{STOPPED.get(options.command, STOPPED['deploy'])}", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> str:
    match options.command:
        case "migrate":
            return deployed.migrate(options.stack)
        case "rotate-keys":
            return deployed.rotate_keys(options.stack, options.wait, progress(sys.stderr))
        case "upload":
            return upload_command.run(options.file, options.name, options.stack)
    target = deploy.environment(options.config, parameters.given(getattr(options, "set", "")))
    match options.command:
        case "deploy":
            return deploy.deploy(target)
        case "protect":
            return deploy.protect(target)
    return destroy.destroy(target)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description="Operates a deployed stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    migrate = commands.add_parser("migrate", help="bring a deployed stack's schema up to date")
    rotate = commands.add_parser(
        "rotate-keys", help="sign a deployed stack's tokens with a new key; the old one stays valid beside it"
    )
    rotate.add_argument("--wait", type=float, default=deployed.KNOWN_AFTER, help="seconds before the new key signs")
    for command in (migrate, rotate):
        command.add_argument("stack", help="name of the CloudFormation stack")
    commands.add_parser("operator", help="one action of the operator's; ACTION and the rest are variables")
    sent = commands.add_parser("upload", help="send a film to a deployed stack, or to what make run serves")
    sent.add_argument("file", help="path of the film")
    sent.add_argument("--name", default="", help="the video's name; the file's if it is not given")
    sent.add_argument("--stack", default="", help="name of the CloudFormation stack; empty: what make run serves")
    first = commands.add_parser("deploy", help="check, build, deploy, and tell where everything is")
    first.add_argument(
        "--set", default="", help="parameters of the template: 'LogLevel=WARNING Zones=eu-west-1a,eu-west-1b'"
    )
    kept = commands.add_parser("protect", help="keep the stack and its database from being deleted")
    gone = commands.add_parser("destroy", help="take a stack of size dev away whole, after asking")
    for command in (first, kept, gone):
        command.add_argument("config", help="environment of samconfig.toml: dev or prod")
    return parser


def progress(output: TextIO, *, every: float = 60.0, width: int = 30) -> Callable[[float, float], None]:
    """Shows a wait: a bar that is drawn anew on a terminal; elsewhere a line every so many seconds."""
    last = -every

    def show(passed: float, seconds: float) -> None:
        nonlocal last
        over = passed >= seconds
        left = "the new key signs now" if over else f"the new key signs in {seconds - passed:.0f} s"
        if output.isatty():
            bar = ("#" * round(width * passed / seconds if seconds else width)).ljust(width, ".")
            output.write(f"\r\x1b[K[{bar}] {left}" + "\n" * over)
        elif over or passed - last >= every:
            last = passed
            output.write(f"{left}\n")
        output.flush()

    return show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
