"""Tables and figures about systems under other conditions."""
