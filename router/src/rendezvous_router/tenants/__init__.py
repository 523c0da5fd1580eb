"""Tenants of one installation: their keys, limits and shares, and the NATS accounts made of them (ADR 0019).

The *register* is one file in a folder of its own; whoever may write it is the operator. Commands change it
(`rendezvous tenant`, `rendezvous key`), routers and `rendezvous up` follow it. Nothing of it is secret but the
*installation's secret* beside it, from which the keys of the installation's own processes are derived.
"""
