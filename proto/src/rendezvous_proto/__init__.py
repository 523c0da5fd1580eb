"""The contract of Rendezvous: messages, frame codec, error table, names in the postbox, vectors."""
