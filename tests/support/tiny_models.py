"""Models of the transformers library, tiny and with random weights, saved as the hub keeps them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.encoders import torchvision_compat as compat

compat.install()

import torch  # noqa: E402
import transformers  # noqa: E402

REVISION = "0123456789abcdef0123456789abcdef01234567"


def clap(folder: Path, fusion: bool) -> Path:
    text = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 40, "pad_token_id": 1, "bos_token_id": 0,
            "eos_token_id": 2}
    sound = {"window_size": 4, "num_mel_bins": 32, "spec_size": 128, "patch_size": 4, "patch_stride": [4, 4],
             "hidden_size": 16, "num_hidden_layers": 2, "patch_embeds_hidden_size": 8, "depths": [1, 1],
             "num_attention_heads": [2, 2], "enable_fusion": fusion, "aff_block_r": 2}
    if fusion:
        sound["fusion_type"] = None
    config = transformers.ClapConfig(text_config=text, audio_config=sound, projection_dim=12)
    extractor = transformers.ClapFeatureExtractor(
        feature_size=32, sampling_rate=16_000, hop_length=160, max_length_s=2, fft_window_size=512,
        frequency_max=8_000, truncation="fusion" if fusion else "rand_trunc")
    return _saved(folder, transformers.ClapModel, config, extractor)


def ast(folder: Path) -> Path:
    """With the head that the published ones have, and that is no part of the encoder."""
    config = transformers.ASTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                                    num_mel_bins=32, max_length=128, num_labels=5)
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128)
    return _saved(folder, transformers.ASTForAudioClassification, config, extractor)


def videomae(folder: Path, use_mean_pooling: bool = True) -> Path:
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=4, tubelet_size=2, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, use_mean_pooling=use_mean_pooling, num_labels=3)
    return _saved(folder, transformers.VideoMAEForVideoClassification, config, _pictures())


def timesformer(folder: Path) -> Path:
    config = transformers.TimesformerConfig(image_size=32, patch_size=8, num_frames=3, hidden_size=24,
                                            num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    return _saved(folder, transformers.TimesformerForVideoClassification, config, _pictures())


def xclip(folder: Path) -> Path:
    text = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 20}
    vision = {"image_size": 32, "patch_size": 8, "num_frames": 5, "hidden_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 2, "intermediate_size": 32, "mit_hidden_size": 20, "mit_num_hidden_layers": 1,
              "mit_num_attention_heads": 2, "mit_intermediate_size": 32}
    config = transformers.XCLIPConfig(text_config=text, vision_config=vision, projection_dim=20)
    return _saved(folder, transformers.XCLIPModel, config, _pictures())


def classifier(folder: Path, labels: Sequence[str], words: Sequence[str], problem_type: str | None) -> Path:
    """A BERT of whole words with a head for `labels`, and its tokenizer."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, initializer_range=0.5, problem_type=problem_type,
        id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)})
    return _saved(folder, transformers.BertForSequenceClassification, config, tokenizer)


def in_cache(cache: Path, hub_id: str, folder: Path) -> Path:
    """Puts the files of `folder` where the hub's cache keeps `hub_id`; the snapshot's folder."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    folder.rename(snapshot)
    return snapshot


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def without_tensor(folder: Path, ending: str) -> None:
    """Takes the tensors whose names end so out of the weights."""
    import safetensors.torch

    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(ending)}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, file, metadata={"format": "pt"})


def _pictures() -> Any:
    return transformers.VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})


def _saved(folder: Path, kind: Any, config: Any, preprocessing: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = kind(config)
        for tensor in model.parameters():       # the library starts biases at 0, which would hide a missing one
            tensor.data += 0.05 * torch.randn_like(tensor)
    model.save_pretrained(folder)
    preprocessing.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"]
    return folder
