"""The enricher: looks up what the bank knows of an applicant from earlier loans, by `customer_id`.

It runs before the models and adds two columns to each request. Its table is made up, see data/README.md:
`python -m examples.credit.history` writes it anew.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rendezvous_sdk import model

from examples.credit.applicants import load_applicants
from examples.credit.features import Columns

TABLE = Path(__file__).parent / "data" / "history.csv"
NAMES = ("past_loans", "worst_delay_days")
_NEW_IN_TEN = 1
_RANGES: Mapping[str, tuple[range, range]] = {
    "no credits taken/ all credits paid back duly": (range(2), range(1)),
    "all credits at this bank paid back duly": (range(1, 4), range(1)),
    "existing credits paid back duly till now": (range(1, 3), range(11)),
    "delay in paying off in the past": (range(1, 4), range(31, 91)),
    "critical account/ other credits existing (not at this bank)": (range(2, 6), range(31)),
}
"""Past loans and days of the worst delay that go with a category of `credit_history`."""


@model(name="history", outputs=NAMES, task="enrichment", description="Earlier loans, by customer_id.")
class History:
    """Looks applicants up."""

    def setup(self) -> None:
        """Reads the table, once, when the enricher starts."""
        with TABLE.open(newline="") as file:
            rows = csv.DictReader(file)
            self._known = {row["customer_id"]: [int(row[name]) for name in NAMES] for row in rows}

    def score(self, applicants: Columns) -> dict[str, Any]:
        """Returns past loans and the worst delay for each applicant: none and missing for who is not known."""
        found = [self._known.get(customer, (0, None)) for customer in applicants["customer_id"]]
        return {
            "past_loans": [loans for loans, _ in found],
            "worst_delay_days": pd.Series([days for _, days in found], dtype="Int64"),
        }


def make_up() -> list[tuple[str, int, int]]:
    """Returns a made-up history of nine applicants in ten: customer, past loans, days of the worst delay.

    Each value follows from the customer's id and the column `credit_history`, never from what became of the loan.
    """
    table = load_applicants().table
    made = []
    for customer, category in zip(table["customer_id"], table["credit_history"], strict=True):
        chance = hashlib.blake2b(customer.encode()).digest()
        if chance[0] % 10 < _NEW_IN_TEN:
            continue
        loans, days = _RANGES[category]
        made.append((customer, _pick(loans, chance[1]), _pick(days, chance[2])))
    return made


def _pick(values: Sequence[int], chance: int) -> int:
    return values[chance % len(values)]


def main() -> None:
    """Writes the table."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("customer_id", *NAMES))
        writer.writerows(make_up())


if __name__ == "__main__":
    main()
