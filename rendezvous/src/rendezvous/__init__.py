"""The decision core of Rendezvous: endpoint specification, policies and the mailbox; no I/O, no clock.

>>> from rendezvous import Mailbox, compile_policy, parse_spec
"""

from rendezvous.mailbox import Mailbox
from rendezvous.policy import Policy, compile_policy
from rendezvous.spec import EndpointSpec, SpecError, parse_spec, spec_to_dict

__all__ = ["EndpointSpec", "Mailbox", "Policy", "SpecError", "compile_policy", "parse_spec", "spec_to_dict"]
