"""Where the decoder looked for each word of a caption, small enough for a page of thousands of videos.

A weight is one of 64 levels, a letter each, and a word's rows are a string: a tenth of the numbers' size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"     # cards.js has the same


def pack_attention(row: Mapping[str, Any], attributes: Sequence[int]) -> dict[str, Any] | None:
    """The attention of a line of predictions.jsonl as a card has it; None where it is not of the line's caption.

    attributes: their order on the card. `parts` are [name, seconds, a string of levels a word], level 63 being `top`;
    `shares` says of every word how many per cent of its attention each part has.
    """
    attention = row.get("attention")
    if not attention or not attention["words"] or " ".join(attention["words"]) != row["caption"]:
        return None
    parts = {name: (part["seconds"], part["weights"]) for name, part in attention["parts"].items()}
    if "attributes" in parts and len(attributes) == len(parts["attributes"][1][0]):
        seconds, weights = parts["attributes"]
        parts["attributes"] = (seconds, [[word[number] for number in attributes] for word in weights])
    top = max((weight for _, weights in parts.values() for word in weights for weight in word), default=0.0)
    return {"top": round(top, 3),
            "parts": [[name, [round(second, 1) for second in seconds], [_pack(word, top) for word in weights]]
                      for name, (seconds, weights) in parts.items()],
            "shares": [[round(100 * sum(word)) for word in words]
                       for words in zip(*(weights for _, weights in parts.values()), strict=True)]}


def _pack(weights: Sequence[float], top: float) -> str:
    return "".join(LEVELS[round(63 * weight / top) if top else 0] for weight in weights)
