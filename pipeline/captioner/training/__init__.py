"""Training a captioner: trainer and what it needs."""
