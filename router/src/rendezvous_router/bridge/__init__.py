"""Bridges: a model server that knows nothing of postboxes joins an endpoint.

A bridge reads the postbox on behalf of a model that implements only the gRPC service `rendezvous.v1.Score`, or
speaks the Open Inference Protocol v2 over gRPC or REST. It is a model version by every rule of docs/protocol.md.
Design and what was turned down: docs/adr/0011-bridge.md.
"""

from rendezvous_router.bridge.address import FarAddress, parse_address
from rendezvous_router.bridge.bridge import Bridge
from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.bridge.mapping import MappingSpec, load_mapping
from rendezvous_router.bridge.mapping_text import parse_inputs, parse_outputs
from rendezvous_router.bridge.options import BridgeOptions
from rendezvous_router.bridge.run import run_bridge

__all__ = [
    "Bridge",
    "BridgeError",
    "BridgeOptions",
    "FarAddress",
    "MappingSpec",
    "load_mapping",
    "parse_address",
    "parse_inputs",
    "parse_outputs",
    "run_bridge",
]
