"""The captioner's modules in the paper's order: feu, vtai, hcot, caption_decoder; captioner puts them together."""
