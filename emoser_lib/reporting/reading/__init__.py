"""Tables about systems that read."""
