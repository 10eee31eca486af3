"""VTAI by cross-fitting: what is said of a training video must be no better than what is said of a new one."""

import torch
from captioner_world import SECTION, TAXONOMY, TRAINING, as_split, captions_by, train_on, world, world_split

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.training.cross_fitting import cross_fit
from pipeline.captioner.training.losses import attribute_loss
from pipeline.captioner.vocabulary import Vocabulary

FOLDS = TRAINING.model_copy(update={"attribute_folds": 4})


def model_of(inputs: Inputs, captions: dict[str, list[str]], section: params.Captioner = SECTION,
             ) -> tuple[Captioner, AttributeList, torch.Tensor]:
    sentences = [sentence for own in captions.values() for sentence in own]
    vocabulary, attributes = Vocabulary.build(sentences, 1), AttributeList.build(sentences, TAXONOMY, 50)
    torch.manual_seed(0)
    model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes, vocabulary)
    targets = attributes.targets([captions[video] for video in inputs.ids])
    model.fit(inputs, targets)
    return model, attributes, targets


@torch.no_grad()
def loss_of(model: Captioner, inputs: Inputs, targets: torch.Tensor) -> float:
    model.eval()
    logits = model.encode(inputs).attribute_logits
    assert logits is not None
    return float(attribute_loss(logits, targets))


def test_what_is_said_of_a_training_video_is_as_uncertain_as_of_a_new_one() -> None:
    inputs, captions = world(160, seed=1)
    model, attributes, targets = model_of(inputs, captions)
    logits = cross_fit(model, inputs, targets, FOLDS, seed=0)
    assert logits is not None
    new_inputs, new_captions = world(160, seed=2)
    new_targets = attributes.targets([new_captions[video] for video in new_inputs.ids])
    of_training, of_new = float(attribute_loss(logits, targets)), loss_of(model, new_inputs, new_targets)
    by_heart = loss_of(model, inputs, targets)
    assert by_heart < 0.9 * of_new                      # it knows its own videos better, so this is not what HCOT reads
    assert 0.8 * of_new < of_training < 1.5 * of_new    # by detectors that saw three quarters of the videos
    shares = targets.mean(0).clamp(0.01, 0.99).logit().expand_as(targets)
    assert of_training < 0.7 * float(attribute_loss(shares, targets))


def test_nothing_can_be_known_of_noise() -> None:
    inputs, captions = world(80, seed=1)
    model, _, targets = model_of(inputs, captions)
    shuffled = targets[torch.randperm(80, generator=torch.Generator().manual_seed(0))]
    logits = cross_fit(model, inputs, shuffled, FOLDS, seed=0)
    assert logits is not None
    share = shuffled.mean(0).clamp(0.01, 0.99).logit().expand_as(targets)
    assert float(attribute_loss(logits, shuffled)) > 0.95 * float(attribute_loss(share, shuffled))


def test_it_is_ready_before_the_decoder_learns_and_the_same_for_a_seed() -> None:
    split = world_split(48, seed=1)
    one, again = (train_on(split, training=FOLDS, epochs=1) for _ in range(2))
    longer = train_on(split, training=FOLDS, epochs=3)
    weights = [dict(trained.model.detector.state_dict()) for trained in (one, again, longer)]       # type: ignore[union-attr]
    assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:] for name in weights[0])
    assert all(epoch["attribute_loss"] == 0 for epoch in longer.history)
    inputs, _ = world(6, seed=3)
    assert captions_by(one, inputs) == captions_by(again, inputs)


def test_without_folds_or_with_a_detector_that_learns_beside_the_decoder_there_is_none() -> None:
    inputs, captions = world(20, seed=1)
    for section, training in ((SECTION, FOLDS.model_copy(update={"attribute_folds": 0})),
                              (SECTION.model_copy(update={"detector": "linear"}), FOLDS)):
        model, _, targets = model_of(inputs, captions, section)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert cross_fit(model, inputs, targets, training, seed=0) is None
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(parameter.requires_grad for parameter in model.parameters())
    few = as_split(inputs.select(range(3)), captions)
    assert train_on(few, training=FOLDS, epochs=1).history[0]["attribute_loss"] > 0     # too few videos to cut up
