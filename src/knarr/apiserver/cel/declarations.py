"""The functions that expressions may call, with their types.

Those of the CEL specification, of cel-go's libraries and of Kubernetes 1.34 (``apiserver/pkg/cel``:
``environment/base.go``, ``library``), except ``authorizer`` and what belongs to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from knarr.apiserver.cel.types import Type, parse_type


@dataclass(frozen=True, slots=True)
class Overload:
    """One signature; of a method, the first parameter is its target."""

    method: bool
    params: tuple[Type, ...]
    result: Type


_COMPARABLE: Final = "int uint double bool duration timestamp string bytes"
_MIXED: Final = "int,uint int,double uint,int uint,double double,int double,uint"

# name: parameters -> result; a method's target stands before the dot
_TEXT: Final = """
!_: bool -> bool
-_: double -> double | int -> int
@in: A, list(A) -> bool | A, map(A, B) -> bool
_==_: A, A -> bool
_!=_: A, A -> bool
_%_: int, int -> int | uint, uint -> uint
_*_: double, double -> double | int, int -> int | uint, uint -> uint
_/_: double, double -> double | int, int -> int | uint, uint -> uint
_+_: bytes, bytes -> bytes | double, double -> double | duration, duration -> duration | duration, timestamp -> timestamp | timestamp, duration -> timestamp | int, int -> int | list(A), list(A) -> list(A) | string, string -> string | uint, uint -> uint
_-_: double, double -> double | duration, duration -> duration | int, int -> int | timestamp, duration -> timestamp | timestamp, timestamp -> duration | uint, uint -> uint
_[_]: list(A), int -> A | map(A, B), A -> B | optional(list(V)), int -> optional(V) | optional(map(K, V)), K -> optional(V)
_[?_]: list(V), int -> optional(V) | optional(list(V)), int -> optional(V) | map(K, V), K -> optional(V) | optional(map(K, V)), K -> optional(V)
_?_:_: bool, A, A -> A
bool: bool -> bool | string -> bool
bytes: bytes -> bytes | string -> bytes
double: double -> double | int -> double | string -> double | uint -> double
duration: duration -> duration | int -> duration | string -> duration
dyn: A -> dyn
int: int -> int | double -> int | duration -> int | string -> int | timestamp -> int | uint -> int
string: string -> string | bool -> string | bytes -> string | double -> string | duration -> string | int -> string | timestamp -> string | uint -> string | net.IP -> string | net.CIDR -> string
timestamp: timestamp -> timestamp | int -> timestamp | string -> timestamp
type: A -> type(A)
uint: uint -> uint | double -> uint | int -> uint | string -> uint
size: bytes -> int | .bytes -> int | list(A) -> int | .list(A) -> int | map(A, B) -> int | .map(A, B) -> int | string -> int | .string -> int
matches: string, string -> bool | .string, string -> bool
contains: .string, string -> bool
endsWith: .string, string -> bool
startsWith: .string, string -> bool
getDate: .timestamp -> int | .timestamp, string -> int
getDayOfMonth: .timestamp -> int | .timestamp, string -> int
getDayOfWeek: .timestamp -> int | .timestamp, string -> int
getDayOfYear: .timestamp -> int | .timestamp, string -> int
getFullYear: .timestamp -> int | .timestamp, string -> int
getMonth: .timestamp -> int | .timestamp, string -> int
getHours: .timestamp -> int | .timestamp, string -> int | .duration -> int
getMinutes: .timestamp -> int | .timestamp, string -> int | .duration -> int
getSeconds: .timestamp -> int | .timestamp, string -> int | .duration -> int
getMilliseconds: .timestamp -> int | .timestamp, string -> int | .duration -> int
charAt: .string, int -> string
format: .string, list(dyn) -> string
indexOf: .list(A), A -> int | .string, string -> int | .string, string, int -> int
lastIndexOf: .list(A), A -> int | .string, string -> int | .string, string, int -> int
join: .list(string) -> string | .list(string), string -> string
lowerAscii: .string -> string
upperAscii: .string -> string
replace: .string, string, string -> string | .string, string, string, int -> string
split: .string, string -> list(string) | .string, string, int -> list(string)
strings.quote: string -> string
substring: .string, int -> string | .string, int, int -> string
trim: .string -> string
reverse: .list(T) -> list(T)
distinct: .list(T) -> list(T)
first: .list(V) -> optional(V)
last: .list(V) -> optional(V)
flatten: .list(list(T)) -> list(T) | .list(dyn), int -> list(dyn)
lists.range: int -> list(int)
slice: .list(T), int, int -> list(T)
sets.contains: list(T), list(T) -> bool
sets.equivalent: list(T), list(T) -> bool
sets.intersects: list(T), list(T) -> bool
find: .string, string -> string
findAll: .string, string -> list(string) | .string, string, int -> list(string)
isURL: string -> bool
url: string -> kubernetes.URL
getScheme: .kubernetes.URL -> string
getHost: .kubernetes.URL -> string
getHostname: .kubernetes.URL -> string
getPort: .kubernetes.URL -> string
getEscapedPath: .kubernetes.URL -> string
getQuery: .kubernetes.URL -> map(string, list(string))
isQuantity: string -> bool
quantity: string -> kubernetes.Quantity
add: .kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity | .kubernetes.Quantity, int -> kubernetes.Quantity
sub: .kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity | .kubernetes.Quantity, int -> kubernetes.Quantity
asApproximateFloat: .kubernetes.Quantity -> double
asInteger: .kubernetes.Quantity -> int
isInteger: .kubernetes.Quantity -> bool
sign: kubernetes.Quantity -> int
compareTo: .kubernetes.Quantity, kubernetes.Quantity -> int | .kubernetes.Semver, kubernetes.Semver -> int
isGreaterThan: .kubernetes.Quantity, kubernetes.Quantity -> bool | .kubernetes.Semver, kubernetes.Semver -> bool
isLessThan: .kubernetes.Quantity, kubernetes.Quantity -> bool | .kubernetes.Semver, kubernetes.Semver -> bool
isSemver: string -> bool | string, bool -> bool
semver: string -> kubernetes.Semver | string, bool -> kubernetes.Semver
major: .kubernetes.Semver -> int
minor: .kubernetes.Semver -> int
patch: .kubernetes.Semver -> int
ip: string -> net.IP | .net.CIDR -> net.IP
isIP: string -> bool
ip.isCanonical: string -> bool
family: .net.IP -> int
isUnspecified: .net.IP -> bool
isLoopback: .net.IP -> bool
isLinkLocalMulticast: .net.IP -> bool
isLinkLocalUnicast: .net.IP -> bool
isGlobalUnicast: .net.IP -> bool
cidr: string -> net.CIDR
isCIDR: string -> bool
containsCIDR: .net.CIDR, string -> bool | .net.CIDR, net.CIDR -> bool
containsIP: .net.CIDR, string -> bool | .net.CIDR, net.IP -> bool
masked: .net.CIDR -> net.CIDR
prefixLength: .net.CIDR -> int
format.named: string -> optional(kubernetes.NamedFormat)
validate: .kubernetes.NamedFormat, string -> optional(list(string))
optional.none: -> optional(V)
optional.of: V -> optional(V)
optional.ofNonZeroValue: V -> optional(V)
optional.unwrap: list(optional(V)) -> list(V)
unwrapOpt: .list(optional(V)) -> list(V)
hasValue: .optional(V) -> bool
value: .optional(V) -> V
or: .optional(V), optional(V) -> optional(V)
orValue: .optional(V), V -> V
"""  # noqa: E501 - one line per function

FORMATS: Final = (
    "byte", "date", "datetime", "dns1035Label", "dns1035LabelPrefix", "dns1123Label",
    "dns1123LabelPrefix", "dns1123Subdomain", "dns1123SubdomainPrefix", "labelValue",
    "qualifiedName", "uri", "uuid",
)  # fmt: skip


@cache
def functions() -> Mapping[str, tuple[Overload, ...]]:
    """Every function by name, its overloads in the order in which they are tried."""
    result: dict[str, tuple[Overload, ...]] = {}
    for line in _TEXT.strip().splitlines():
        name, _, rest = line.partition(": ")
        result[name] = tuple(_overload(text) for text in rest.split("|"))
    for name in ("_<_", "_<=_", "_>_", "_>=_"):
        pairs = [f"{kind},{kind}" for kind in _COMPARABLE.split()] + _MIXED.split()
        result[name] = tuple(_overload(f"{pair} -> bool") for pair in pairs)
    for name in ("min", "max"):
        result[name] = tuple(_overload(f".list({k}) -> {k}") for k in _COMPARABLE.split())
    result["isSorted"] = tuple(_overload(f".list({k}) -> bool") for k in _COMPARABLE.split())
    result["sort"] = tuple(_overload(f".list({k}) -> list({k})") for k in _COMPARABLE.split())
    summable = ("int", "uint", "double", "duration")
    result["sum"] = tuple(_overload(f".list({kind}) -> {kind}") for kind in summable)
    for each in FORMATS:
        result[f"format.{each}"] = (_overload(" -> kubernetes.NamedFormat"),)
    return result


def _overload(text: str) -> Overload:
    params, _, result = text.strip().rpartition("->")
    method = params.startswith(".")
    parsed = parse_type(f"p({params.strip().removeprefix('.')})").params if params.strip() else ()
    return Overload(method, parsed, parse_type(result.strip()))


TYPE_NAMES: Final = (
    "bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint",
    "google.protobuf.Timestamp", "google.protobuf.Duration", "optional_type", "net.IP", "net.CIDR",
    "kubernetes.URL", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.NamedFormat",
)  # fmt: skip
