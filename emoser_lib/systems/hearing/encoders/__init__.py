"""Frozen audio encoders: Whisper, WavLM, wav2vec 2.0 and emotion2vec, from waveforms to frames."""
