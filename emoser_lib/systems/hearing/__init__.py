"""Language models that hear: encoders, their cached frames, bridges, and systems put together."""
