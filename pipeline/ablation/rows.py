"""The rows of the ablation: the paper's seven with the authors' scores, and a baseline that reads everything."""

from dataclasses import dataclass

from pipeline import params

# What a row's scores are called here: their part and name in metrics.json.
SCORES = {"B-4": ("coco", "Bleu_4"), "M": ("coco", "METEOR"), "R-L": ("coco", "ROUGE_L"), "C": ("coco", "CIDEr"),
          "Acc_sw": ("emotion", "acc_sw"), "Acc_c": ("emotion", "acc_c"), "BFS": ("emotion", "bfs"),
          "CFS": ("emotion", "cfs"), "balanced": ("emotion", "balanced_accuracy"),
          "macro F1": ("emotion", "macro_f1")}
PAPER_SCORES = tuple(SCORES)[:-2]
PAPER_SET = "EmVidCap, 516 test videos, CLIP ViT-B/32"


@dataclass(frozen=True)
class Row:
    """`left_out`: modalities that the row does without; `paper`: the authors' scores x 100, as PAPER_SCORES, or ()."""

    name: str
    paper: tuple[float, ...] = ()
    left_out: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def of(self, section: params.Captioner) -> params.Captioner:
        """`section` as this row has it; its `decoder_modalities` follow its modalities."""
        modalities = [name for name in section.modalities if name not in self.left_out]
        return params.Captioner.model_validate(
            section.model_dump() | dict.fromkeys(self.off, False) | {"modalities": modalities})


FULL = Row("full", (32.9, 24.1, 50.9, 47.8, 79.6, 78.7, 53.7, 54.1))
# It reads all that the full model reads: what is above it, VTAI and HCOT have earned.
BASELINE = Row("baseline", off=("vtai", "cfb", "aeb"))
ROWS = (
    FULL,
    Row("CFB only", (30.8, 23.0, 48.9, 45.7, 73.8, 71.5, 49.4, 51.1), off=("aeb",)),
    Row("AEB only", (29.4, 22.3, 48.1, 43.1, 64.9, 64.1, 47.5, 47.4), off=("cfb",)),
    Row("no text", (30.6, 22.7, 48.9, 43.7, 66.4, 63.9, 48.6, 48.0), left_out=("text",)),
    Row("no audio", (31.4, 23.3, 49.7, 44.8, 68.8, 66.2, 49.6, 49.3), left_out=("audio",)),
    Row("visual only", (28.8, 22.5, 48.3, 42.8, 63.1, 61.9, 46.9, 46.7), left_out=("text", "audio")),
    BASELINE,
    # The paper's baseline: it reads neither candidates nor sound.
    Row("visual baseline", (26.6, 20.7, 46.5, 40.5, 59.3, 57.7, 44.5, 44.1), ("text", "audio"), ("vtai", "cfb", "aeb")),
)
