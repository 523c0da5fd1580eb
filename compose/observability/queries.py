"""Expressions that several panels share, in PromQL.

`$endpoint` and `$model` are variables of the dashboards, `$__rate_interval` is Grafana's.
"""

OF_ENDPOINT = 'rendezvous_endpoint=~"$endpoint"'
OF_MODEL = f'{OF_ENDPOINT},rendezvous_model=~"$model"'
BY_ENDPOINT = "rendezvous_tenant, rendezvous_endpoint"
BY_MODEL = "rendezvous_tenant, rendezvous_endpoint, rendezvous_model"
NAME = "{{rendezvous_tenant}}/{{rendezvous_endpoint}}"
"""A series' name in the legend."""
MODEL_NAME = "{{rendezvous_tenant}}/{{rendezvous_endpoint}}/{{rendezvous_model}}"
FALLBACK = 'rendezvous_rule=~"canary|otherwise|none"'


def rate(counter: str, by: str, where: str) -> str:
    """Returns how often something happens a second, over all routers, for each value of the labels *by*."""
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))"


def share(counter: str, by: str, where: str, of: str) -> str:
    """Returns which part of what *of* selects *where* selects, 0 to 1; nothing where nothing was counted."""
    return f"{rate(counter, by, where)} / {rate(counter, by, of)}"


def quantile(q: float, histogram: str, by: str, where: str) -> str:
    """Returns the quantile *q* of a histogram, over all routers."""
    return f"histogram_quantile({q:g}, {rate(f'{histogram}_bucket', f'le, {by}', where)})"


def share_above(bound: str, histogram: str, by: str, where: str) -> str:
    """Returns which part of a histogram's values lies above *bound*, which must be a bucket's end."""
    below = rate(f"{histogram}_bucket", by, f'{where},le="{bound}"')
    return f"1 - {below} / {rate(f'{histogram}_count', by, where)}"
