"""The project's documents: their blocks of code, links and headings."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from project import ROOT

DOCUMENTS = tuple(str(path.relative_to(ROOT)) for path in (
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))))
NOT_RUN = "Not run"         # how a paragraph before or behind a block of commands begins that no test runs
_PROGRAMS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?"
                       r"(?:python|dvc|git|make|spectrum|pip|pytest|hf|dask|pre-commit|cd|\.) ")


@dataclass(frozen=True)
class Block:
    """A block of code. `language` is that of a fence, "" of an indented one; `around`: the paragraphs beside it."""

    document: str
    heading: str
    language: str
    text: str
    around: tuple[str, str]

    @property
    def commands(self) -> list[str]:
        """Its command lines, comments and prompts taken away; none where it is no block of commands."""
        if self.language not in ("", "sh", "console"):
            return []
        lines = [line.removeprefix("$ ") for line in self.text.replace("\\\n", " ").splitlines()]
        return [line.partition("  #")[0].strip() for line in lines if _PROGRAMS.match(line)]

    @property
    def is_marked(self) -> bool:
        return any(text.lstrip("*(").startswith(NOT_RUN) for text in self.around)


@cache
def tokens(document: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / document).read_text(encoding="utf-8"))


def blocks(document: str, heading: str | None = None) -> list[Block]:
    """The blocks of a document, or of what stands under one of its headings."""
    found, above = [], ""
    every = tokens(document)
    for position, token in enumerate(every):
        if token.type == "heading_open":
            above = every[position + 1].content
        if token.type in ("code_block", "fence") and heading in (None, above):
            before = every[position - 2].content if every[position - 1].type == "paragraph_close" else ""
            rest = every[position + 1:position + 3]
            behind = rest[1].content if rest and rest[0].type == "paragraph_open" else ""
            found.append(Block(document, above, token.info, token.content, (before, behind)))
    return found


def links(document: str) -> list[str]:
    """What the document links to and shows."""
    return [str(child.attrGet("href") or child.attrGet("src")) for token in tokens(document)
            for child in token.children or () if child.type in ("link_open", "image")]


def anchors(document: str) -> set[str]:
    """The anchors of its headings, as GitHub names them."""
    every = tokens(document)
    texts = ["".join(child.content for child in every[position + 1].children or ())
             for position, token in enumerate(every) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def prose(document: str) -> str:
    """Its text without blocks of code and code in sentences."""
    return "\n".join("".join(child.content if child.type == "text" else "\n" for child in token.children or ()
                             if child.type in ("text", "softbreak"))
                     for token in tokens(document) if token.type == "inline")


def folder_of(document: str) -> Path:
    return (ROOT / document).parent
