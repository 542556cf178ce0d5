"""What planned runs need, counted on models without weights."""
