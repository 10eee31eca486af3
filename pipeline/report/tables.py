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
class Ahead:
    """How far the model is ahead of a line, with its 95 % interval; "" where it was not compared."""

    text: str = ""
    interval: str = ""
    tie: bool = False


@dataclass(frozen=True)
class Row:
    name: str
    note: str
    cells: tuple[Cell, ...]
    human: bool
    ahead: tuple[Ahead, ...] = ()       # of AHEAD; () where the run compared nothing


@dataclass(frozen=True)
class Headline:
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
    ("balanced_accuracy", "Balanced", "recall of a reference emotion, averaged over the emotions, "
     "so that a word that is always said is right for its own emotions alone"),
    ("macro_f1", "Macro F1", "as balanced, but what is said wrongly counts, too"),
)
ALL = (
    *(Column("coco", *column) for column in _CAPTION),
    *(Column("evc", *column) for column in _CAPTION),
    *(Column("emotion", *column) for column in _EMOTION),
)
MAIN = tuple(column for column in ALL if column.key not in ("Bleu_1", "Bleu_2", "Bleu_3"))
# Scores of which metrics.json says how far the model is ahead.
AHEAD = (("cider", "CIDEr (coco)"), ("cfs", "CFS"))
# The measures of the dot plot.
DRAWN = (
    Column("coco", "CIDEr", "CIDEr (coco)", ""),
    Column("coco", "METEOR", "METEOR (coco)", ""),
    Column("evc", "CIDEr", "CIDEr (evc)", ""),
    Column("emotion", "acc_sw", "Acc sw", ""),
    Column("emotion", "cfs", "CFS", ""),
    Column("emotion", "balanced_accuracy", "Balanced accuracy", ""),
)
# How good the retrieved candidates of a split are, as retrieval.json has it.
CANDIDATE_COLUMNS = (
    ("videos", "videos", "videos that were looked at"),
    ("equal_to_reference", "equal to a reference", "share of the candidates that somebody wrote of the same video, %"),
    ("nearest_cider", "CIDEr of the nearest", "the first candidate taken as the caption"),
    ("consensus_cider", "CIDEr of the consensus", "the candidate that agrees most with the others"),
)
# Scores of the emotional priors on the validation videos, as emotion.json has them.
PRIOR_COLUMNS = (
    ("videos", "videos", "validation videos with an emotion in their references"),
    ("hit1", "top 1", "share of videos whose likeliest category is in the references"),
    ("hit3", "top 3", "share of videos with a reference category among the three likeliest"),
    ("mean_ap", "mean AP", "mean average precision of the order of the categories, over videos"),
    ("category_ap", "category AP", "mean average precision of the order of the videos, over categories"),
    ("log_loss", "log-loss", "mean of −log p(what is so) over videos and categories: lower is better"),
)


def format_percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def find_value(scores: Mapping[str, Any] | None, column: Column) -> float | None:
    value = ((scores or {}).get(column.group) or {}).get(column.key)
    return None if value is None else float(value)


def collect_lines(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The scores of the model and of each line beside it, by name, in the table's order; the human line last."""
    lines = metrics.get("reference_lines") or {}
    scores_of = {"Model": metrics, "Without rerankers": metrics.get("without_rerankers"),
                 "Without candidates": metrics.get("without_candidates"), "Baseline": metrics.get("baseline"),
                 "Constant word": lines.get("constant_word"), "Nearest caption": lines.get("nearest_caption"),
                 "Consensus caption": lines.get("consensus_caption"), "Human": lines.get("human")}
    return {name: scores for name, scores in scores_of.items() if scores}


def build_rows(metrics: Mapping[str, Any], columns: tuple[Column, ...]) -> list[Row]:
    """A row for the model and each line beside it; in every column the best that is not human is marked,
    with all that print the same. `ahead` says how far the model is ahead of the row, or that they are tied."""
    scores_of = collect_lines(metrics)
    texts = {name: [format_percent(find_value(scores, column)) for column in columns]
             for name, scores in scores_of.items()}
    best = []
    for number, column in enumerate(columns):
        values = [(value, texts[name][number]) for name, scores in scores_of.items()
                  if name != "Human" and (value := find_value(scores, column)) is not None]
        best.append(max(values)[1] if len(values) > 1 else None)
    notes = {
        "Model": "this run",
        "Without rerankers": "the likeliest caption by the model's words alone",
        "Without candidates": "the best of the captions that the model made by itself",
        "Baseline": "the same without attributes and theme",
        "Constant word": f"“{(scores_of.get('Constant word') or {}).get('word', '?')}” said of every video",
        "Nearest caption": "the first candidate, as it is",
        "Consensus caption": "the candidate that the others agree with most",
        "Human": "one reference, scored by the others",
    }
    ahead_of = metrics.get("ahead_of") or {}
    return [Row(name, notes[name],
                tuple(Cell(text, name != "Human" and text == best[n]) for n, text in enumerate(texts[name])),
                name == "Human",
                tuple(_describe_ahead((ahead_of.get(name.lower().replace(" ", "_")) or {}).get(key))
                      for key, _ in AHEAD) if ahead_of else ())
            for name in scores_of]


def describe_ahead(ahead: Mapping[str, Any]) -> list[tuple[str, Ahead]]:
    """How far one run is ahead of another, by the names of the scores that both have."""
    return [(name, _describe_ahead(ahead[key])) for key, name in AHEAD if key in ahead]


def _describe_ahead(interval: Mapping[str, Any] | None) -> Ahead:
    if interval is None:
        return Ahead()
    difference, low, high = (f"{100 * interval[key]:+.1f}".replace("-", "−") for key in ("difference", "low", "high"))
    return Ahead(difference, f"{low} to {high}", interval["tie"])


def select_drawn(metrics: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Names of the measures that anyone has a value for, and each line's values."""
    scores_of = collect_lines(metrics)
    kept = [column for column in DRAWN
            if any(find_value(scores, column) is not None for scores in scores_of.values())]
    return ([column.name for column in kept],
            [(name, [find_value(scores, column) for column in kept]) for name, scores in scores_of.items()])


def build_headlines(metrics: Mapping[str, Any]) -> list[Headline]:
    def build(name: str, column: Column, short: str, meaning: str) -> Headline:
        others = (("Nearest caption", "nearest"), ("Constant word", "constant"), ("Human", "human"))
        beside = tuple(f"{label} {format_percent(value)}" for other, label in others
                       if (value := find_value(scores_of.get(other), column)) is not None)
        return Headline(name, format_percent(find_value(metrics, column)), short, meaning, beside)

    scores_of = collect_lines(metrics)
    by_name = {column.name: column for column in DRAWN}
    retrieval = (metrics.get("retrieval") or {}).get("text_to_video") or {}
    rank = retrieval.get("median_rank")
    return [
        build("CIDEr", by_name["CIDEr (coco)"], "Does it say what people say?",
              "Agreement with all reference captions of a video; telling words weigh more than common ones. "
              "coco protocol, ×100; it can exceed 100."),
        build("METEOR", by_name["METEOR (coco)"], "Are the words right, synonyms allowed?",
              "Words matched with the closest reference; stems and synonyms count. coco protocol, ×100."),
        build("Balanced accuracy", by_name["Balanced accuracy"], "Does it find every emotion, rare ones too?",
              "For each emotion: the share of its videos whose caption says it; then the mean over the "
              "emotions. A word that is always said is right for its own emotions alone."),
        build("CFS", by_name["CFS"], "Content and emotion in one number",
              "0.8 · CIDEr + 0.1 · (Acc sw + Acc c), ×100."),
        Headline("Retrieval R@1 / R@5", " / ".join(format_percent(retrieval.get(key)) for key in ("r1", "r5")),
                 "Does a caption find its video?",
                 "How often a caption's own video ranks first, or among the first five, by the similarity that "
                 "the encoder gives. The candidate captions come from the same similarity.",
                 () if rank is None else (f"median rank {rank:g}",)),
    ]


def describe_diversity(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of how varied the captions are."""
    counts = metrics.get("diversity") or {}
    names = {
        "distinct_captions": ("different captions", "{:,}"),
        "distinct_words": ("different words", "{:,}"),
        "words": ("words a caption", "{:.1f}"),
        "novel_captions": ("captions that are no training caption", "{:.1%}"),
    }
    return [(name, form.format(counts[key]))
            for key, (name, form) in names.items() if counts.get(key) is not None]


def explain_constant_word(metrics: Mapping[str, Any]) -> str:
    """What the constant word reaches in this run, in a sentence; "" without that line."""
    constant = collect_lines(metrics).get("Constant word")
    accuracy, balanced = ALL[-6], ALL[-2]
    theirs, ours = find_value(constant, accuracy), find_value(metrics, accuracy)
    if constant is None or theirs is None or ours is None:
        return ""
    verdict = "above" if theirs > ours else "below" if theirs < ours else "level with"
    text = (f"Here “{constant.get('word', '?')}”, said of every video, reaches Acc sw {format_percent(theirs)}, "
            f"{verdict} the model's {format_percent(ours)}")
    theirs, ours = find_value(constant, balanced), find_value(metrics, balanced)
    if theirs is None or ours is None:
        return text + "."
    text = (f"{text}; in balanced accuracy it gets {format_percent(theirs)} "
            f"and the model {format_percent(ours)}.")
    if theirs >= ours:
        return f"{text} So this run finds emotions no better than a single word does."
    return text


def build_candidate_rows(retrieval: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """A row a split: its name, the texts of CANDIDATE_COLUMNS and its references that the corpus holds, too."""
    in_corpus = retrieval.get("references_in_corpus") or {}
    rows = []
    for split, values in (retrieval.get("candidates") or {}).items():
        videos, *shares = (values.get(key) for key, _, _ in CANDIDATE_COLUMNS)
        rows.append((split, [NONE if videos is None else f"{videos:,}", *map(format_percent, shares),
                             f"{in_corpus[split]:,}" if split in in_corpus else NONE]))
    return rows


def build_prior_rows(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """A row for what a prior is made from: its name and the texts of PRIOR_COLUMNS."""
    return [(name, [_format_number(values.get(key)) for key, _, _ in PRIOR_COLUMNS]) for name, values in scores.items()]


def _format_number(value: float | None) -> str:
    return NONE if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
