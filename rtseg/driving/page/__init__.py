"""The parts of reports that are no Python: their frame, style and script, put together under a strict policy."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from rtseg.driving.markup import Markup, joined


def assembled(title: str, body: Markup, data: Mapping[str, Any], *, script: bool = True) -> str:
    """A whole page in one file. Its policy lets nothing be fetched but pictures and clips from beside the page, and
    runs no script but ours, by its hash."""  # fmt: skip
    style, code = _part("report.css"), _part("report.js") if script else ""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(code)}'; img-src data:; "
        "media-src data: 'self' file:; base-uri 'none'; form-action 'none'"
    )
    # Nothing in it may end the element that it stands in, or begin another.
    plain = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        plain = plain.replace(letter, f"\\u{ord(letter):04x}")
    frame = Template(_part("report.html"))
    return frame.substitute(policy=policy, title=joined(title), style=style, body=body, data=plain, script=code)


def _part(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
