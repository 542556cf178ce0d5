"""Language models that read: words for labels, packed batches, zero-shot, LoRA."""
