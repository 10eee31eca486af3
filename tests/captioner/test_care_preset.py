"""The CARE preset has the parts and the sizes of CARE's own model."""

from pathlib import Path

import pytest
import torch
from project import ROOT

from pipeline import params
from pipeline.ablation.rows import BASELINE
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.vocabulary import SPECIALS, Vocabulary
from pipeline.emotion.taxonomy import Taxonomy

TAXONOMY = Taxonomy.load("evc-179")
# VGGish, ResNeXt-101 and CLIP ViT-B/32 features of 28 frames; 20 retrieved captions of CLIP's text tower.
MSRVTT = {"appearance": (28, 512), "audio": (28, 128), "motion": (28, 2048), "text": (20, 512)}
MSVD = {"appearance": (28, 384), "text": (20, 384)}    # simulated features


def care(tmp_path: Path) -> params.Params:
    """The preset over the parameters that the project ships."""
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    return params.apply(ROOT / "presets" / "care.yaml", [], file)


def inputs_of(rows: dict[str, tuple[int, int]], videos: int = 2) -> Inputs:
    modalities = {name: Modality(torch.randn(videos, *shape), torch.ones(videos, shape[0], dtype=torch.bool))
                  for name, shape in rows.items()}
    return Inputs(tuple(f"v{number}" for number in range(videos)), modalities,
                  torch.zeros(videos, len(TAXONOMY.categories)), torch.zeros(videos, len(TAXONOMY.words)))


def concepts(section: params.Captioner) -> AttributeList:
    return AttributeList.build([f"word{number} happily" for number in range(600)], TAXONOMY, section.universal_words,
                               section.attributes)


def built(section: params.Captioner, rows: dict[str, tuple[int, int]], vocabulary: int) -> Captioner:
    words = Vocabulary((*SPECIALS, *(f"word{number}" for number in range(vocabulary - len(SPECIALS)))))
    return Captioner(section, Shape.of(section, inputs_of(rows), vocabulary), concepts(section), words)


def size(model: Captioner) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("rows", "vocabulary", "expected"), [(MSRVTT, 10547, 18_218_884), (MSVD, 4067, 9_822_660)],
                         ids=["msr-vtt", "simulated-msvd"])
def test_the_preset_has_as_many_parameters_as_care(tmp_path: Path, rows: dict[str, tuple[int, int]], vocabulary: int,
                                                   expected: int) -> None:
    assert size(built(care(tmp_path).captioner, rows, vocabulary)) == expected


def test_without_concepts_it_has_as_many_as_cares_baseline(tmp_path: Path) -> None:
    model = built(BASELINE.of(care(tmp_path).captioner), MSRVTT, 10547)
    assert size(model) == 16_401_408
    assert "text" not in model.shape.dims       # nothing would read it


def test_the_decoder_sees_no_retrieved_caption_and_the_detector_does(tmp_path: Path) -> None:
    model = built(care(tmp_path).captioner, MSVD, 50).eval()
    inputs = inputs_of(MSVD)
    text = inputs.modalities["text"]
    other = Inputs(inputs.ids, inputs.modalities | {"text": Modality(torch.randn_like(text.rows), text.mask)},
                   inputs.prior_categories, inputs.prior_words)
    one, two = model.encode(inputs), model.encode(other)
    assert one.memory.keys[0].shape[2] == 28 + 30
    assert torch.equal(one.memory.keys[0][:, :, :28], two.memory.keys[0][:, :, :28])
    assert one.attribute_logits is not None and two.attribute_logits is not None
    assert not torch.allclose(one.attribute_logits, two.attribute_logits)


def test_concepts_are_frequent_words_emotional_or_not(tmp_path: Path) -> None:
    captions = ["they happily run", "she is happily here", "a dog", "a dog runs"]
    found = AttributeList.build(captions, TAXONOMY, 3, care(tmp_path).captioner.attributes)
    assert found.universal == ("dog", "happily", "run") and found.emotional == ()
