"""The endpoint specification as typed values; every default lives here, once."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from rendezvous._durations import parse_duration

TypeName = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "STRING",
]
RoleName = Literal["champion", "challenger", "canary", "shadow", "decoy"]

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
Duration = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$", examples=["30ms", "1.5s", "2m"])]

Rate = Annotated[float, Meta(ge=0.001)]
Count = Annotated[int, Meta(ge=1)]


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What the parts have in common."""


class ColumnSpec(_Part, frozen=True, omit_defaults=True):
    """One column of the endpoint's input or output."""

    name: Annotated[str, Meta(min_length=1, description="Name of the column, unique in its list.")]
    type: Annotated[TypeName, Meta(description="Type of its elements, an Open Inference datatype or STRING.")]
    shape: Annotated[
        list[Annotated[int, Meta(ge=1)]], Meta(description="Shape of one row's value; empty: a scalar.")
    ] = []
    missing: Annotated[bool, Meta(description="Whether rows may be missing.")] = False
    nan: Annotated[bool, Meta(description="Whether elements may be NaN or infinite.")] = False
    description: Annotated[str, Meta(description="For people.")] = ""

    @property
    def is_floating(self) -> bool:
        """Whether the elements are FP16, FP32 or FP64."""
        return self.type.startswith("FP")

    @property
    def is_integer(self) -> bool:
        """Whether the elements are integers, signed or not; BOOL is none."""
        return self.type.startswith(("INT", "UINT"))

    @property
    def is_numeric(self) -> bool:
        """Whether a mean of the elements makes sense."""
        return self.is_floating or self.is_integer


class ModelSpec(_Part, frozen=True):
    """One model of the endpoint."""

    role: Annotated[
        RoleName,
        Meta(
            description="champion: preferred; challenger: may be served; canary: frozen baseline, "
            "served as a fallback; shadow: scored, never served; decoy: archives the input, never scores."
        ),
    ] = "challenger"
    weight: Annotated[float, Meta(gt=0, description="Weight of its votes and values.")] = 1.0


class EnricherSpec(_Part, frozen=True, omit_defaults=True):
    """One enricher: a model whose output columns are joined to the rows before the others see them."""

    outputs: Annotated[
        list[ColumnSpec], Meta(min_length=1, description="Columns that it adds; no name may be there already.")
    ]
    budget: Annotated[
        Duration, Meta(description="Time that it has, from the beginning of its stage; a client's short one cuts it.")
    ]
    otherwise: Annotated[
        dict[str, Any] | Literal["error"],
        Meta(description="Where it fails or is late: a value for each of its columns, or 'error'."),
    ]
    stage: Annotated[
        int, Meta(ge=1, le=9, description="Stages follow one another; one sees what the stages before it added.")
    ] = 1
    inputs: Annotated[
        list[str] | None, Meta(description="Columns that it needs, checked against what there is; default: all.")
    ] = None
    description: Annotated[str, Meta(description="For people.")] = ""

    @property
    def budget_s(self) -> float:
        """Its budget in seconds."""
        return parse_duration(self.budget)


class StepSpec(_Part, frozen=True, omit_defaults=True):
    """One step of the policy; `None` means not given."""

    take: Annotated[str, Meta(description="best, first, majority, mean, median, weighted, split or a plug-in.")]
    until: Annotated[
        Duration | None,
        Meta(description="End of the step, from the request's acceptance; default: the deadline."),
    ] = None
    of: Annotated[
        list[str] | None,
        Meta(description="Models in order of preference; default: champion, then challengers."),
    ] = None
    on: Annotated[
        str | list[str] | None,
        Meta(description="majority: the column voted on. mean, median: numeric columns."),
    ] = None
    quorum: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Models that must have answered.")] = None
    shares: Annotated[
        dict[str, float] | None, Meta(description="split: share of the requests by model; they sum to 1.")
    ] = None
    by: Annotated[str | None, Meta(description="split: key of the request's context that sticks to a model.")] = None
    weights: Annotated[dict[str, float] | None, Meta(description="weighted: weights that replace the models' own.")] = (
        None
    )
    options: Annotated[dict[str, Any] | None, Meta(description="Options of a plug-in rule.")] = None

    @property
    def until_s(self) -> float | None:
        """End of the step in seconds from acceptance; None: the deadline."""
        return None if self.until is None else parse_duration(self.until)


class PolicySpec(_Part, frozen=True):
    """How scores become one answer, on time."""

    deadline: Annotated[Duration, Meta(description="When the answer is due, from acceptance; at most 60s.")]
    steps: Annotated[
        list[StepSpec],
        Meta(min_length=1, description="Tried in order, the first that succeeds decides; default: [{take: best}]."),
    ] = field(default_factory=lambda: [StepSpec(take="best")])
    otherwise: Annotated[
        dict[str, Any] | Literal["error"],
        Meta(description="Answer if nothing else gave one: a value for each output column, or 'error'."),
    ] = "error"

    @property
    def deadline_s(self) -> float:
        """The deadline in seconds from acceptance."""
        return parse_duration(self.deadline)


class LimitsSpec(_Part, frozen=True):
    """What the endpoint refuses."""

    max_rows: Annotated[int, Meta(ge=1, description="Rows of one request.")] = 10_000
    max_bytes: Annotated[int, Meta(ge=1, le=921_600, description="Bytes of one request's frame.")] = 921_600
    max_in_flight: Annotated[int, Meta(ge=1, description="Requests in flight in one router process.")] = 4096
    requests_per_s: Annotated[Rate | None, Meta(description="Requests a second, retries included.")] = None
    requests_burst: Annotated[Count | None, Meta(description="Requests at once; default: a second's worth.")] = None
    rows_per_s: Annotated[Rate | None, Meta(description="Rows a second.")] = None
    rows_burst: Annotated[Count | None, Meta(description="Rows at once; default: a second's worth.")] = None
    bytes_per_s: Annotated[Rate | None, Meta(description="Bytes of requests a second.")] = None
    bytes_burst: Annotated[Count | None, Meta(description="Bytes at once; default: a second's worth.")] = None


class PostboxSpec(_Part, frozen=True):
    """How the endpoint's streams are kept."""

    replicas: Annotated[int, Meta(ge=1, le=5, description="Servers of the cluster that keep the streams.")] = 1
    max_bytes: Annotated[int, Meta(ge=-1, description="Bytes each stream may take; -1: no limit.")] = -1
    max_age: Annotated[Duration, Meta(description="Age at which messages are dropped; 0s: never.")] = "0s"

    @property
    def max_age_s(self) -> float:
        """`max_age` in seconds; 0: never."""
        return parse_duration(self.max_age)


class EndpointSpec(_Part, frozen=True):
    """One business question: signature, models and policy."""

    endpoint: Annotated[Name, Meta(description="Name of the endpoint.")]
    inputs: Annotated[list[ColumnSpec], Meta(description="Input columns; empty: anything is taken.")]
    outputs: Annotated[list[ColumnSpec], Meta(min_length=1, description="Output columns.")]
    models: Annotated[dict[Name, ModelSpec], Meta(min_length=1, description="Models by name.")]
    policy: Annotated[PolicySpec, Meta(description="How scores become an answer.")]
    enrichers: Annotated[
        dict[Name, EnricherSpec], Meta(description="Enrichers by name, which add columns before the models are asked.")
    ] = {}
    limits: Annotated[LimitsSpec, Meta(description="What is refused.")] = LimitsSpec()
    postbox: Annotated[PostboxSpec, Meta(description="How the streams are kept.")] = PostboxSpec()
    description: Annotated[str, Meta(description="For people.")] = ""

    def models_of(self, *roles: RoleName) -> list[str]:
        """Names of the models in these roles, in the order of `roles`, then of the specification."""
        return [name for role in roles for name, model in self.models.items() if model.role == role]

    def enrichment_stages(self) -> list[dict[str, EnricherSpec]]:
        """Enrichers of each stage by name, the first stage first; empty: there are none."""
        stages = sorted({enricher.stage for enricher in self.enrichers.values()})
        return [{name: each for name, each in self.enrichers.items() if each.stage == stage} for stage in stages]

    def model_inputs(self) -> list[ColumnSpec]:
        """Columns that the models see: the clients', then those of the enrichers, stage by stage."""
        added = (column for stage in self.enrichment_stages() for each in stage.values() for column in each.outputs)
        return [*self.inputs, *added]

    def eligible_models(self) -> list[str]:
        """Default of `of`: the champion, then the challengers in order."""
        return self.models_of("champion", "challenger")
