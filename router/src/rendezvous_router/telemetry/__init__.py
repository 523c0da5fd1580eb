"""What the router tells of itself: metrics, traces, and a page for probes. Nothing here decides anything.

The desk counts into plain numbers (`tally`) and keeps moments of time; everything else happens after the answer:

- `histogram`, `metrics`, `collect`: the tallies as metrics, described once in `METRICS`;
- `prometheus`, `otlp`: the same metrics for a scrape, and pushed by OTLP;
- `tracing`, `spans`: which requests are sampled, and their spans, drawn when their parcel is closed;
- `fleet_watch`: lags and replicas, read from JetStream every few seconds;
- `page`: `/metrics`, `/healthz` and `/readyz`.

So a request that is not sampled costs a few appends to lists, and telemetry that fails costs no request (ADR 0013).
"""
