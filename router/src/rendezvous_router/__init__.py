"""The router: moves requests through the postbox and answers them on time.

It holds no rule of its own: what to answer is decided by the package `rendezvous`; this package brings requests in
(`door`), joins them to parcels (`pacing`, `parcels`), keeps them in JetStream (`postbox`), collects the scores
(`desk`, `scores`) and answers (`answers`). `docs/architecture.md` draws it.
"""
