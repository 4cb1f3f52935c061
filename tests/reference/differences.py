"""Where Knarr answers otherwise than kube-apiserver, on purpose: one entry each, with the reason.

``docs/compatibility.md`` says the same to users. A difference that is not listed fails its scenario; an entry that no
scenario shows any more fails the run.
"""

import fnmatch
import re
from dataclasses import dataclass

from tests.reference.comparing import Difference


@dataclass(frozen=True)
class Accepted:
    """Differences that are meant.

    Attributes:
        reason: why, for people.
        path: regular expression; must match the whole path in the answer.
        scenario: shell pattern of scenario names.
        ours, theirs: regular expressions that are searched in the values' text.
    """

    reason: str
    path: str
    scenario: str = "*"
    ours: str = ""
    theirs: str = ""

    def covers(self, scenario: str, difference: Difference) -> bool:
        return (
            fnmatch.fnmatchcase(scenario, self.scenario)
            and re.fullmatch(self.path, difference.path) is not None
            and re.search(self.ours, str(difference.ours)) is not None
            and re.search(self.theirs, str(difference.theirs)) is not None
        )


ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        "what is never stored has no managed fields",
        r"body\.metadata\.managedFields",
        scenario="45-access: *",
        ours=r"^\(absent\)$",
    ),
    Accepted(
        "the objects of the first start were written by another program",
        r"body\.(rows\[0\]\.object\.)?metadata\.managedFields\[0\]\..*",
        scenario="45-access: *",
    ),
)
