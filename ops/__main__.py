"""The operator's command line: `python -m ops migrate STACK` and `python -m ops rotate-keys STACK`."""

import argparse
import sys
from collections.abc import Callable
from typing import TextIO

from ops import deployed


def main(arguments: list[str]) -> int:
    """Run a command; the exit code is returned."""
    parser = argparse.ArgumentParser(prog="python -m ops", description="Operates a deployed stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    migrate = commands.add_parser("migrate", help="bring a deployed stack's schema up to date")
    rotate = commands.add_parser(
        "rotate-keys", help="sign a deployed stack's tokens with a new key; the old one stays valid beside it"
    )
    rotate.add_argument("--wait", type=float, default=deployed.KNOWN_AFTER, help="seconds before the new key signs")
    for command in (migrate, rotate):
        command.add_argument("stack", help="name of the CloudFormation stack")
    options = parser.parse_args(arguments)
    try:
        if options.command == "migrate":
            print(deployed.migrate(options.stack))
        else:
            print(deployed.rotate_keys(options.stack, options.wait, progress(sys.stderr)))
    except deployed.DeployedError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if options.command == "rotate-keys":
            print("\nstopped: the old key signs on; run it again to rotate", file=sys.stderr)
        else:
            print("\nstopped waiting: the migration goes on, and its log is the function's", file=sys.stderr)
        return 130
    return 0


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
