"""MkDocs hooks: pages that lie at the repository's root are part of the site, and links to them work in both places."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
AT_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_OUT = re.compile(rf"\]\(\.\./((?:\.\./)*(?:{'|'.join(map(re.escape, AT_ROOT))}))")
"""A link from below docs/ to a page at the root; in the site it is one folder nearer."""
_IN = re.compile(r"\]\(docs/")


def on_files(files: Files, config: Any) -> Files:
    """Take the pages at the root into the site."""
    for name in AT_ROOT:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between docs/ and the root into links within the site."""
    return _IN.sub("](", markdown) if page.file.src_uri in AT_ROOT else _OUT.sub(r"](\1", markdown)
