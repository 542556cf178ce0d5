"""Tables and diagrams about systems that hear."""
