"""Links between the documents lead somewhere, every page can be reached, and abbreviations are spelled out."""

import re

import pytest
from documents import DOCUMENTS, anchors, folder_of, links, prose
from project import ROOT

# An abbreviation of the field or the project, and its words.
ABBREVIATIONS = {
    "FEU": "Feature Encoder Unit", "VTAI": "Visual-Text Attribute Investigation",
    "HCOT": "Holistic Concept-Oriented Theme", "AEB": "Attribute Embedding Block", "CFB": "Coarse-to-Fine Block",
    "DVC": "Data Version Control", "MSVD": "Microsoft Research Video Description",
    "MSR-VTT": "Microsoft Research Video to Text", "CLIP": "Contrastive Language-Image Pretraining",
    "CFS": "CIDEr and emotion", "CIDEr": "Consensus-based Image Description Evaluation",
}
FOR_DEVELOPERS = ("CONTRIBUTING.md",)       # it has a glossary


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (folder_of(document) / path).resolve() if path else (ROOT / document)
        assert target.exists(), f"{document} links to {link}"
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), f"{document} links to {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {str((folder_of("README.md") / link.partition("#")[0]).resolve()) for link in links("README.md")}
    assert {str(ROOT / document) for document in DOCUMENTS} <= linked | {str(ROOT / "README.md")}


def test_files_that_the_code_names_exist() -> None:
    """Comments of parameters and messages send to documents, too."""
    rooms = ("pipeline", "stages", "tests", "benchmarks")
    sources = [ROOT / "params.yaml", ROOT / "Makefile", *(ROOT / "presets").glob("*.yaml"),
               *(path for room in rooms for path in (ROOT / room).rglob("*.py"))]
    for source in sources:
        for name in re.findall(r"\bdocs/[\w-]+\.\w+", source.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{source} names {name}"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in FOR_DEVELOPERS])
def test_abbreviations_are_spelled_out_where_they_first_stand(document: str) -> None:
    """In the same paragraph or before it."""
    text = prose(document)
    for short, words in ABBREVIATIONS.items():
        first = re.search(rf"(?<![\w-]){short}(?![\w-])", text)
        if first is None:
            continue
        paragraph = text.find("\n", first.end())
        # a line of the paragraph ends as one of the text does: two lines more are near enough
        for _ in range(2):
            paragraph = text.find("\n", paragraph + 1)
        shown = " ".join(text[:paragraph if paragraph > 0 else None].split())
        assert re.search(words, shown), f"{document}: {short} is not spelled out where it first stands"
