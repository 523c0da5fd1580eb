"""Grafana's dashboards, written here in Python and kept as JSON: `python -m compose.observability`."""
