"""The list at the head of docs/api.md: for readers where mkdocstrings does not run.

`python tools/api_list.py` writes it anew. As a hook of mkdocs, this file leaves it out of the site,
which has the whole reference.
"""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/api.md"
#: What stands between the two comments.
LIST = re.compile(r"(?<=<!-- list -->\n).*?(?=<!-- end of the list -->)", re.S)


def with_list(page: str) -> str:
    """Return the page with the list of what it documents: a name, its file, its first line."""
    rows = ["| name | what |", "|---|---|"]
    for name in re.findall(r"^::: (\S+)$", page, re.M):
        found = pkgutil.resolve_name(name)
        path = "/".join(found.__module__.split("."))
        file = f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__init__.py"
        what = found.__doc__.splitlines()[0].replace("|", "\\|")
        rows.append(f"| [`{name}`](../{file}) | {what} |")
    listed = "\n".join(["", *rows, "", ""])
    return LIST.sub(lambda _: listed, page)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """See mkdocs."""
    return LIST.sub("", markdown)


if __name__ == "__main__":
    PAGE.write_text(with_list(PAGE.read_text("utf-8")), "utf-8")
