"""The REST front door: endpoints over HTTP, beside gRPC and over the same mailbox path. Reference: docs/rest.md.

Start with `door.RestDoor`. Nothing is imported here: the Open Inference Protocol is a guest of this door and uses its
parts.
"""
