"""Regenerates the table of settings in README.md from `vms.settings.TABLE`. Run by `make readme`."""

from pathlib import Path
from typing import Any

from vms.settings import TABLE
from vms.variables import Setting

README = Path(__file__).parents[1] / "README.md"
_FIRST, _LAST = "<!-- settings: written by make readme -->\n", "<!-- end of settings -->"


def table() -> str:
    """The settings as a Markdown table, one row each, in the order of `TABLE`."""
    head = "| setting | default | allowed | used by | what it says |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(_row(setting) for setting in TABLE)


def _row(setting: Setting[Any]) -> str:
    allowed, _ = setting.form
    match setting.default:
        case None:
            default = "required"
        case str() as text:
            default = text and f"`{text}`"
        case number:
            default = f"{number:.16g}"
    return f"| `{setting.name}` | {default} | {allowed} | {setting.used_by} | {setting.says} |\n"


def text(readme: str) -> str:
    """The text of README.md with the table as it is now."""
    before, _, rest = readme.partition(_FIRST)
    return before + _FIRST + table() + _LAST + rest.partition(_LAST)[2]


if __name__ == "__main__":
    README.write_text(text(README.read_text("utf-8")), encoding="utf-8")
