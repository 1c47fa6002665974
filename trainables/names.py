"""Names from users (images, attacks' labels, data) in places that refuse some characters: mapped here, and back.

A refused character becomes `_xHHHH_`, its code point in hexadecimal, as spreadsheets write it in XML (ECMA-376,
22.4.2.4); an underscore before an x, which would read as the start of such a group, becomes `_x005F_`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

LONGEST = 250
"""Characters that MLflow takes in a key; a file system takes 255 bytes in a name."""
_GROUP = re.compile(r"_x([0-9A-F]{4,6})_")


def as_key(name: str) -> str:
    """A key that MLflow takes: letters, digits, and `_`, `-`, `.`, `:`, `/` and blanks that form no path of its own."""
    key = _escaped(name, r"[^\w/. :-]")
    is_path = posixpath.normpath(key) != key or key.startswith(("..", "/")) or key == "."
    return _bounded(_escaped(name, r"[^\w :-]") if is_path else key)


def as_file_name(name: str) -> str:
    """A name for a file on whatever system, without its ending; blanks stay."""
    return _bounded(_escaped(name, r"[^\w. +=,()\[\]-]|^\."), longest=120)


def original(mapped: str) -> str:
    """The name that `as_key` or `as_file_name` was given, unless it was too long for them."""
    return _GROUP.sub(lambda found: chr(int(found[1], 16)), mapped)


def _escaped(name: str, refused: str) -> str:
    pattern = re.compile(rf"_(?=x)|{refused}")
    return pattern.sub(lambda found: f"_x{ord(found[0]):04X}_", name)


def _bounded(key: str, longest: int = LONGEST) -> str:
    """A key that is too long ends in a digest of all of it, so that two never become one."""
    if len(key) <= longest:
        return key
    return f"{key[: longest - 17]}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
