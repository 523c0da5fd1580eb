"""What turned out to be true: taken at the doors, checked, kept in the postbox (docs/protocol.md, P120 to P125)."""
