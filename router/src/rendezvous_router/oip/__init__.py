"""The Open Inference Protocol v2 at the router's front doors, over gRPC and REST. Reference: docs/oip.md.

`service.InferenceService` is the gRPC service, `rest.oip_routes` the REST routes. Both turn a request into an `Ask`
and leave the rest to `asking`: so both give the same verdict. `tensors` is shared with the bridge, which asks where
this package answers.
"""
