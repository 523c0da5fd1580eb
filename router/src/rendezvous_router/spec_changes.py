"""What a change of a specification means: the difference as text, and a policy in words."""

import difflib
from collections.abc import Iterator

import yaml
from rendezvous.spec import EndpointSpec, EnricherSpec, StepSpec, spec_to_dict


def spec_text(spec: EndpointSpec) -> str:
    """Returns a specification as YAML."""
    text: str = yaml.safe_dump(spec_to_dict(spec), sort_keys=False, allow_unicode=True, width=100)
    return text


def diff_specs(old: EndpointSpec | None, new: EndpointSpec | None) -> list[str]:
    """Returns the lines of a unified diff; empty when both are equal."""
    texts = ["" if spec is None else spec_text(spec) for spec in (old, new)]
    lines = difflib.unified_diff(texts[0].splitlines(), texts[1].splitlines(), "in force", "new", lineterm="", n=2)
    return list(lines)


def describe_policy(spec: EndpointSpec) -> list[str]:
    """Returns the policy as sentences."""
    return list(_sentences(spec))


def _sentences(spec: EndpointSpec) -> Iterator[str]:
    policy = spec.policy
    yield f"An answer is due {policy.deadline} after a request is accepted, earlier if the client says so."
    for number, stage in enumerate(spec.enrichment_stages(), start=1):
        added = "; ".join(_describe_enricher(name, enricher) for name, enricher in stage.items())
        yield f"{'First' if number == 1 else 'Then'} columns are added: {added}."
    for number, step in enumerate(policy.steps):
        until = step.until or policy.deadline
        yield f"{'Until' if number == 0 else 'Then, until'} {until}: {_describe_step(spec, step)}."
    canaries = spec.models_of("canary")
    if canaries:
        yield f"If no step has decided: the canary ({', '.join(canaries)})."
    if policy.otherwise == "error":
        yield "Failing that: the error NO_ANSWER."
    else:
        values = ", ".join(f"{name} = {value!r}" for name, value in policy.otherwise.items())
        yield f"Failing that: the fixed answer {values}."


def _describe_enricher(name: str, enricher: EnricherSpec) -> str:
    columns = ", ".join(column.name for column in enricher.outputs)
    if isinstance(enricher.otherwise, str):
        return f"{columns} by {name} within {enricher.budget}, else the error NO_ANSWER"
    values = ", ".join(f"{column} = {value!r}" for column, value in enricher.otherwise.items())
    return f"{columns} by {name} within {enricher.budget}, else {values}"


def _describe_step(spec: EndpointSpec, step: StepSpec) -> str:
    of = ", ".join(step.of or spec.eligible_models())
    on = step.on if isinstance(step.on, str) else ", ".join(step.on or [])
    quorum = f", once {step.quorum} have answered" if step.quorum else ""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in (step.shares or {}).items())
    words = {
        "best": f"the first of {of} in this order, as soon as none before it can still answer",
        "first": f"whichever of {of} answers first",
        "majority": f"the majority of {of} on {on}{quorum}",
        "mean": f"the mean of {of}{quorum}",
        "median": f"the median of {of}{quorum}",
        "weighted": f"the weighted vote or mean of {of}{quorum}",
        "split": f"one model by share ({shares}){f', the same for the same {step.by}' if step.by else ''}",
    }
    return words.get(step.take, f"rule {step.take} of {of}")
