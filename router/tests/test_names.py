"""Wrong names: a similar one is told, and a name of megabytes costs no more than a short one."""

import time
from collections.abc import Callable

import pytest
from rendezvous.spec import ColumnSpec
from rendezvous_proto import v1
from rendezvous_proto.errors import RendezvousError
from rendezvous_proto.nearest import LONGEST, nearest_name
from rendezvous_proto.signatures import check_signature
from rendezvous_router.admission import no_endpoint
from rendezvous_router.oip.inputs import Tensor, frame_of
from rendezvous_router.oip.outputs import check_wanted
from rendezvous_router.oip.tensors import fill_json

ENDLESS = "q" * 4_000_000
DECLARED = [ColumnSpec(name="amount", type="FP64"), ColumnSpec(name="age", type="FP64")]
SIGNATURE = [v1.ColumnSpec(name="amount", type=v1.DataType.DATA_TYPE_FP64)]


def _raise(error: RendezvousError) -> None:
    raise error


def _tensor(name: str) -> Tensor:
    return Tensor(name, "FP64", (1,), fill_json, b"[1]")


def _frame(name: str) -> v1.Frame:
    kind = v1.DataType.DATA_TYPE_FP64
    return v1.Frame(rows=1, columns=[v1.Column(name=each, type=kind, values=bytes(8)) for each in ("amount", name)])


NAMES: list[Callable[[str], object]] = [
    lambda name: _raise(no_endpoint(name, ["amount"])),
    lambda name: frame_of([_tensor(each) for each in ("amount", "age", name)], DECLARED, "endpoint credit"),
    lambda name: check_wanted([name], DECLARED, "endpoint credit"),
    lambda name: check_signature(_frame(name), SIGNATURE, what="inputs"),
]


@pytest.mark.parametrize("refuse", NAMES)
def test_a_wrong_name_is_compared_unless_it_is_long(refuse: Callable[[str], object]) -> None:
    """A slip is told what it may have meant; four megabytes are refused at once, and told nothing."""
    with pytest.raises(RendezvousError, match="did you mean 'amount'"):
        refuse("amuont")
    started = time.monotonic()
    with pytest.raises(RendezvousError) as caught:
        refuse(ENDLESS)
    assert time.monotonic() - started < 0.2
    assert "did you mean" not in caught.value.message


def test_the_longest_name_that_is_compared() -> None:
    """Up to the limit names are compared, beyond it not."""
    known = ["q" * LONGEST]
    assert nearest_name("q" * LONGEST, known) == known[0]
    assert nearest_name("q" * (LONGEST + 1), known) is None


def test_more_tensors_than_a_signature_has_are_refused_by_their_number() -> None:
    """Columns and companions are the most; what is more is not even looked at."""
    with pytest.raises(RendezvousError, match="5 tensors: endpoint credit takes one for each of its 2 columns"):
        frame_of([_tensor("amount")] * 5, DECLARED, "endpoint credit")


def test_outputs_asked_for_again_and_again() -> None:
    """The one that is there twice is named, without comparing each with all others."""
    started = time.monotonic()
    with pytest.raises(RendezvousError, match="output 'age' is asked for twice"):
        check_wanted(["amount", *["age"] * 200_000], DECLARED, "endpoint credit")
    assert time.monotonic() - started < 1
