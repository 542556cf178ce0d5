"""The classical path (THAU-UPM, section 2): acoustic features, baselines, small networks, metadata."""
