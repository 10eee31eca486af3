"""The files that pages are made of, and JSON and scripts as a page may hold them."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def read_asset(name: str) -> str:
    return files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


@cache
def read_template(name: str) -> Template:
    """A template that escapes all that is put into it."""
    environment = Environment(loader=PackageLoader("pipeline.report", "."), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def read_card_scripts() -> str:
    """All that makes cards of a page's JSON."""
    return "".join(map(read_asset, ("attention.js", "cards.js", "gallery.js")))


def as_inert_json(value: object) -> str:
    """JSON that may stand in a script element: no text in it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def hash_of(script: str) -> str:
    """By which a page's policy lets this script run and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
