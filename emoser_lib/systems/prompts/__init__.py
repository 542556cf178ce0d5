"""Prompts: what is asked of a language model, in text and around audio."""
