"""The German Credit set: 1,000 applicants, their known outcome, the split for training."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from sklearn.model_selection import train_test_split

DATA = Path(__file__).parent / "data" / "german_credit.csv"
HELD_OUT = 300
_SEED = 7


class Applicants(NamedTuple):
    """Applicants and what became of their loans."""

    table: pd.DataFrame
    """The input columns, one row for each applicant: `customer_id`, and the 19 of the data set."""
    defaulted: Sequence[int]
    """1 where the loan went bad, else 0; one for each row."""


def load_applicants() -> Applicants:
    """Returns all 1,000 applicants in the order of the file."""
    # "none" is a category here, and nothing is missing: read every text as it stands.
    table = pd.read_csv(DATA, keep_default_na=False)
    outcome = table.pop("outcome")
    return Applicants(table, [int(text == "bad") for text in outcome])


def split_applicants() -> tuple[Applicants, Applicants]:
    """Returns 700 applicants to train on and 300 held out: always the same, 30 % bad loans in both."""
    everyone = load_applicants()
    places = list(range(len(everyone.table)))
    training, held_out = train_test_split(places, test_size=HELD_OUT, random_state=_SEED, stratify=everyone.defaulted)
    return _take(everyone, training), _take(everyone, held_out)


def _take(applicants: Applicants, places: list[int]) -> Applicants:
    return Applicants(
        applicants.table.iloc[places].reset_index(drop=True),
        [applicants.defaulted[place] for place in places],
    )
