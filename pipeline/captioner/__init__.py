"""The captioner: cached tensors of a video in, a sentence with its attributes and emotions out.

    inputs.py                       what a video is here
    cached_dataset.py, stored_inputs.py     where its tensors come from, and when
    vocabulary.py, attributes.py    the words it can generate, and the attributes it predicts
    model/                          feu.py, vtai.py, hcot.py, caption_decoder.py; captioner.py puts them together
    training/                       trainer.py and what it needs
    generation/                     generator.py, beam search, sampling, rerankers
    checkpoint.py, card.py, training_domain.py      a trained captioner as a folder, and which clips it knows

    trained = train(train_split, validation_split, settings, seed=0, device="cpu")
    captions = CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, section).generate(inputs)
"""
