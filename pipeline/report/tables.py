"""The run's numbers beside their reference lines, ready to print (×100, one decimal)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NONE = "–"


@dataclass(frozen=True)
class Column:
    group: str          # the section of `metrics`: coco, evc or emotion
    key: str
    name: str
    meaning: str


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool


@dataclass(frozen=True)
class Row:
    name: str
    note: str
    cells: tuple[Cell, ...]
    human: bool


@dataclass(frozen=True)
class Card:
    name: str
    value: str
    short: str          # one line, always shown
    meaning: str        # shown on hover
    beside: tuple[str, ...]     # the same number of others


_CAPTION = (
    ("Bleu_1", "B-1", "words shared with the references"),
    ("Bleu_2", "B-2", "runs of up to two words shared with the references"),
    ("Bleu_3", "B-3", "runs of up to three words shared with the references"),
    ("Bleu_4", "B-4", "runs of up to four words shared with the references"),
    ("METEOR", "M", "words matched with the best reference, synonyms and stems counted"),
    ("ROUGE_L", "R-L", "longest common word sequence with the best reference"),
    ("CIDEr", "C", "agreement with all references; telling words weigh more than common ones"),
)
_EMOTION = (
    ("acc_sw", "Acc sw", "of the emotions said, the share that the references have; silence counts as wrong"),
    ("acc_c", "Acc c", "captions with a right emotion"),
    ("bfs", "BFS", "80 % BLEU, 20 % emotion accuracy"),
    ("cfs", "CFS", "80 % CIDEr, 20 % emotion accuracy"),
    ("balanced_accuracy", "Balanced", "recall of a reference emotion, averaged over the emotions: "
     "a single word that is always said cannot win it"),
)
ALL = (
    *(Column("coco", *column) for column in _CAPTION),
    *(Column("evc", *column) for column in _CAPTION),
    *(Column("emotion", *column) for column in _EMOTION),
)
MAIN = tuple(column for column in ALL if column.key not in ("Bleu_1", "Bleu_2", "Bleu_3"))
# The measures of the dot plot.
DRAWN = (
    Column("coco", "CIDEr", "CIDEr (coco)", ""),
    Column("coco", "METEOR", "METEOR (coco)", ""),
    Column("evc", "CIDEr", "CIDEr (evc)", ""),
    Column("emotion", "acc_sw", "Acc sw", ""),
    Column("emotion", "cfs", "CFS", ""),
    Column("emotion", "balanced_accuracy", "Balanced accuracy", ""),
)


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def value_of(scores: Mapping[str, Any] | None, column: Column) -> float | None:
    value = ((scores or {}).get(column.group) or {}).get(column.key)
    return None if value is None else float(value)


def sources(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What stands beside what, by name, in the table's order; the human line last."""
    lines = metrics.get("reference_lines") or {}
    found = {"Model": metrics, "Baseline": metrics.get("baseline"),
             "Constant word": lines.get("constant_word"), "Nearest caption": lines.get("nearest_caption"),
             "Human": lines.get("human")}
    return {name: scores for name, scores in found.items() if scores}


def rows(metrics: Mapping[str, Any], columns: tuple[Column, ...]) -> list[Row]:
    """A row for the model and each line beside it; in every column the best that is not human is marked,
    with all that print the same."""
    found = sources(metrics)
    texts = {name: [percent(value_of(scores, column)) for column in columns]
             for name, scores in found.items()}
    best = []
    for number, column in enumerate(columns):
        values = [(value, texts[name][number]) for name, scores in found.items()
                  if name != "Human" and (value := value_of(scores, column)) is not None]
        best.append(max(values)[1] if len(values) > 1 else None)
    notes = {
        "Model": "this run",
        "Baseline": "the same without attributes and theme",
        "Constant word": f"“{(found.get('Constant word') or {}).get('word', '?')}” said of every video",
        "Nearest caption": "the first candidate, as it is",
        "Human": "one reference, scored by the others",
    }
    return [Row(name, notes[name],
                tuple(Cell(text, name != "Human" and text == best[n]) for n, text in enumerate(texts[name])),
                name == "Human")
            for name in found]


def drawn(metrics: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Names of the measures that anyone has a value for, and each source's values."""
    found = sources(metrics)
    kept = [column for column in DRAWN
            if any(value_of(scores, column) is not None for scores in found.values())]
    return ([column.name for column in kept],
            [(name, [value_of(scores, column) for column in kept]) for name, scores in found.items()])


def cards(metrics: Mapping[str, Any]) -> list[Card]:
    def card(name: str, column: Column, short: str, meaning: str) -> Card:
        others = (("Nearest caption", "nearest"), ("Constant word", "constant"), ("Human", "human"))
        beside = tuple(f"{label} {percent(value)}" for other, label in others
                       if (value := value_of(found.get(other), column)) is not None)
        return Card(name, percent(value_of(metrics, column)), short, meaning, beside)

    found = sources(metrics)
    by_name = {column.name: column for column in DRAWN}
    retrieval = metrics.get("retrieval") or {}
    rank = retrieval.get("median_rank")
    return [
        card("CIDEr", by_name["CIDEr (coco)"], "Does it say what people say?",
             "Agreement with all reference captions of a video; telling words weigh more than common ones. "
             "coco protocol, ×100; it can exceed 100."),
        card("METEOR", by_name["METEOR (coco)"], "Are the words right, synonyms allowed?",
             "Words matched with the closest reference; stems and synonyms count. coco protocol, ×100."),
        card("Balanced accuracy", by_name["Balanced accuracy"], "Does it find every emotion, rare ones too?",
             "For each emotion: the share of its videos whose caption says it; then the mean over the "
             "emotions. A caption that always says the same word cannot win it."),
        card("CFS", by_name["CFS"], "Content and emotion in one number",
             "0.8 · CIDEr + 0.1 · (Acc sw + Acc c), ×100."),
        Card("Retrieval R@1 / R@5", f"{percent(retrieval.get('r1'))} / {percent(retrieval.get('r5'))}",
             "Does a caption find its video?",
             "How often a caption's own video ranks first, or among the first five, by the similarity that "
             "the encoder gives. The candidate captions come from the same similarity.",
             () if rank is None else (f"median rank {rank:g}",)),
    ]


def diversity(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of how varied the captions are."""
    counts = metrics.get("diversity") or {}
    told = {
        "distinct_captions": ("different captions", "{:,}"),
        "distinct_words": ("different words", "{:,}"),
        "words": ("words a caption", "{:.1f}"),
        "novel_captions": ("captions that are no training caption", "{:.1%}"),
    }
    return [(name, form.format(counts[key]))
            for key, (name, form) in told.items() if counts.get(key) is not None]


def gaming(metrics: Mapping[str, Any]) -> str:
    """What the constant word reaches in this run, in a sentence; "" without that line."""
    constant = sources(metrics).get("Constant word")
    accuracy, balanced = ALL[-5], ALL[-1]
    theirs, ours = value_of(constant, accuracy), value_of(metrics, accuracy)
    if constant is None or theirs is None or ours is None:
        return ""
    verdict = "above" if theirs > ours else "below" if theirs < ours else "level with"
    text = (f"Here “{constant.get('word', '?')}”, said of every video, reaches Acc sw {percent(theirs)}, "
            f"{verdict} the model's {percent(ours)}")
    if value_of(constant, balanced) is None or value_of(metrics, balanced) is None:
        return text + "."
    return (f"{text}; in balanced accuracy it gets {percent(value_of(constant, balanced))} "
            f"and the model {percent(value_of(metrics, balanced))}.")
