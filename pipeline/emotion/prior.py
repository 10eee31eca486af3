"""The emotional prior of a video: the emotions of its candidate captions, weighted by how near they are.

prior(e) = Σ_k w_k p(e | c_k), w = softmax(similarity_k / τ).
"""

import numpy as np

from pipeline.emotion.probabilities import Floats


def compute_prior(probabilities: Floats, scores: Floats, temperature: float) -> Floats:
    """[V, E] from the candidates' probabilities [V, K, E] and similarities [V, K]."""
    logits = scores / temperature
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(np.einsum("vk,vke->ve", weights, probabilities), np.float32)
