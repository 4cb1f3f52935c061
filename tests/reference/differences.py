"""Where Knarr answers otherwise than kube-apiserver.

``ACCEPTED`` is what is meant: one entry each, with the reason; ``docs/compatibility.md`` says the same to users. ``gaps.txt``
is what is not meant: one line per scenario and place, found by the comparison and not mended yet. A difference that neither
lists fails its scenario; an entry that no scenario shows any more fails the run.

``KNARR_DIFFERENTIAL_GAPS=write`` writes ``gaps.txt`` anew.
"""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

from tests.reference.comparing import ABSENT, Difference

GAPS = Path(__file__).parent / "gaps.txt"


@dataclass(frozen=True)
class Accepted:
    """Differences that are meant.

    Attributes:
        reason: why, for people.
        path: regular expression; must match the whole path in the answer.
        scenario: shell pattern of scenario names.
        ours, theirs: regular expressions that are searched in the values' text.
        says, they_say: regular expressions that are searched in the message of the whole answer.
    """

    reason: str
    path: str = ".*"
    scenario: str = "*"
    ours: str = ""
    theirs: str = ""
    says: str = ""
    they_say: str = ""

    def covers(self, scenario: str, difference: Difference, says: str, they_say: str) -> bool:
        return (
            fnmatch.fnmatchcase(scenario, self.scenario)
            and re.fullmatch(self.path, difference.path) is not None
            and re.search(self.ours, str(difference.ours)) is not None
            and re.search(self.theirs, str(difference.theirs)) is not None
            and re.search(self.says, says) is not None
            and re.search(self.they_say, they_say) is not None
        )


_ABSENT = f"^{re.escape(ABSENT)}$"
_TEXTS = r"body\.(message|details\.causes\[\d+\]\.message|details\.causes)"

ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        "a field of Kubernetes that Knarr does not support is refused by name",
        says="not supported by Knarr",
    ),
    Accepted(
        "descriptions of columns are Knarr's own words",
        path=r".*columnDefinitions\[\d+\]\.description",
    ),
    Accepted("null, as Go writes empty values, is left out", ours=_ABSENT, theirs="^None$"),
    Accepted(
        "empty values, as Go writes them, are left out",
        path=r".*\.(source|reporting\w+|conditions|daemonEndpoints|nodeInfo|lastState)",
        ours=_ABSENT,
        theirs=r"^$|^\{\}$|kubeletEndpoint|'osImage': ''",
    ),
    Accepted(
        "a Service that asks for a load balancer is told that there is none",
        path=r"headers\.warning",
        ours="Knarr has no load balancer",
        theirs=_ABSENT,
    ),
    Accepted(
        "a refused change of a Pod is not shown as a difference of Go structures",
        path=_TEXTS,
        says="pod updates may not change fields other than",
    ),
    Accepted(
        "paths that are not canonical are refused",
        says="is not canonical",
    ),
    Accepted("an empty list is [] and never null", ours=r"^\[\]$", theirs="^None$"),
    Accepted(
        "details are left out when there are none", r"body\.details", ours=_ABSENT, theirs=r"^\{\}$"
    ),
    Accepted(
        "a client's mistake is answered with 4xx, where kube-apiserver says 500",
        path="outcome",
        ours="^4",
        theirs="^500",
    ),
    Accepted(
        "what cannot be read is described in Knarr's own words",
        path=_TEXTS,
        says="cannot be handled as|is not valid|must be an (object|array)|not in Kubernetes' protobuf"
        "|expected a number|expected true or false|does not match the expected API version",
    ),
    Accepted(
        "a JSON patch that fails says which operation failed, and why",
        path=_TEXTS,
        says="^the server rejected our request due to an error in our request: operation",
    ),
    Accepted(
        "media types are named in Knarr's own words",
        path=_TEXTS,
        says="media types (are accepted|include)",
    ),
    Accepted(
        "a selector that cannot be parsed is shown whole",
        path=_TEXTS,
        says="^unable to parse requirement|^invalid selector",
    ),
    Accepted(
        "duplicate keys are refused under every fieldValidation",
        scenario="10-objects: duplicate keys",
        says="duplicate field",
    ),
    Accepted(
        "Knarr comes with a storage class, and its own kinds as definitions",
        path=r"body\.rows",
        scenario="13-reads: tables of nothing",
        ours="knarr",
    ),
)


def read_gaps() -> list[str]:
    """The lines of ``gaps.txt``."""
    return [line for line in GAPS.read_text().splitlines() if line and not line.startswith("#")]


def gap_of(scenario: str, difference: Difference) -> str:
    """The line that stands for a difference."""
    place = re.sub(r"\[\d+\]", "[]", difference.path)
    return f"{scenario} | {place}"


def write_gaps(lines: set[str]) -> None:
    """Replace ``gaps.txt``."""
    head = "# Differences that are not meant and not mended yet: scenario | place in the answer. See differences.py.\n"
    GAPS.write_text(head + "".join(f"{line}\n" for line in sorted(lines)))
