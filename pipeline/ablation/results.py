"""What a row of the ablation came to with one seed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    row: str
    seed: int
    fingerprint: str
    same_as: str                # a row before it that is the same model on this data set; empty: none is
    parameters: int
    best: dict[str, float]      # record of the kept epoch
    captions: dict[str, str]    # of the test videos
    likeliest: dict[str, str]   # the same without rerankers

    @property
    def name(self) -> str:
        return f"{self.row}, seed {self.seed}"
