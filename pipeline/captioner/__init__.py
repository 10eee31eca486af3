"""The captioner: cached tensors of a video in, a sentence with its attributes and emotions out.

Read in this order: inputs (what a video is here), vocabulary, dropout, features (FEU), attributes (VTAI),
theme (HCOT: AEB and CFB), decoder, model (the parts together), losses, training, beam (decoding),
checkpoint.

    trained = training.train(params.captioner, params.training, params.generation, ...)
    captions = beam.caption(trained.model, trained.vocabulary, trained.attributes, inputs, params.generation)
"""
