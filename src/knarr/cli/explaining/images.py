"""Why an image cannot be had: classified by the texts of ``knarr.node.images``; pure."""

from dataclasses import dataclass

from knarr.cli.explaining.place import Place
from knarr.cli.explaining.world import Finding, Fix


@dataclass(frozen=True, slots=True)
class _Rule:
    """One way to fail: any of ``signs`` in the message tells it."""

    signs: tuple[str, ...]
    cause: str
    text: str


_RULES = (
    _Rule(("not on this machine",), "ImageNotBuilt", "The image {image} is not on this machine."),
    _Rule(
        ("refuses the credentials", "names a token server", "gave no token", "no token from"),
        "PullUnauthorized",
        "The registry refuses the credentials for {image}.",
    ),
    _Rule(
        ("or it needs credentials", "authentication that is not supported"),
        "PullUnauthorized",
        "The registry gives {image} to nobody without credentials (or has no such repository).",
    ),
    _Rule(
        ("cannot be reached", "answers 5", "answers 429", "redirects more than"),
        "RegistryUnreachable",
        "The registry {registry} does not answer, so {image} cannot be pulled.",
    ),
    _Rule(("has no image for", "is not for"), "WrongPlatform", "{image} is for other machines."),
    _Rule(("could not parse reference",), "BadImageName", "{image} is not an image reference."),
    _Rule(
        ("has digest", "arrived with digest", "is damaged", "is longer than"),
        "DigestMismatch",
        "What the registry sent for {image} is not what its digest says.",
    ),
    _Rule(("no space left", "space"), "DiskFull", "There is no disk space left for {image}."),
)


def image_finding(place: Place, image: str, message: str) -> Finding:
    """The finding for an image that could not be fetched or resolved to a digest.

    Args:
        place: where it is to run.
        image: as the user wrote it.
        message: of the condition or of the waiting container.
    """
    rule = next((one for one in _RULES if any(sign in message for sign in one.signs)), None)
    registry = _registry(image)
    if rule is None and " is not in " in message:
        rule = _absent(image)
    if rule is None:
        rule = _Rule((), "ImagePullFailed", "The image {image} cannot be fetched.")
    return Finding(
        rule.cause,
        rule.text.format(image=image, registry=registry),
        evidence=(message.strip(),),
        fixes=_fixes(place, rule.cause, image, registry),
        link=place.link(rule.cause),
    )


def _absent(image: str) -> _Rule:
    if "@" in image:
        text = "The repository of {image} has no such digest."
        return _Rule((), "DigestNotFound", text)
    text = "The registry {registry} has no image {image}: the name or the tag is wrong."
    return _Rule((), "ImageNotFound", text)


def _registry(image: str) -> str:
    head, slash, _ = image.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return head
    return "docker.io"


def _fixes(place: Place, cause: str, image: str, registry: str) -> tuple[Fix, ...]:
    again = Fix(place.update("--image IMAGE"), "name an image that exists")
    match cause:
        case "ImageNotBuilt":
            return (
                Fix("knarr image list", "see what is here"),
                Fix("knarr build FOLDER", "build it, or name another"),
                again,
            )
        case "PullUnauthorized":
            secret = (
                f"kubectl create secret docker-registry pull -n {place.namespace} "
                f"--docker-server={registry} --docker-username=USER --docker-password=PASSWORD"
            )
            account = (
                f"kubectl patch serviceaccount default -n {place.namespace} "
                """-p '{"imagePullSecrets":[{"name":"pull"}]}'"""
            )
            return (
                Fix(secret, "store credentials"),
                Fix(account, "let Services without an account of their own use them"),
            )
        case "RegistryUnreachable":
            address = image if registry == "docker.io" else registry
            pull = Fix(f"knarr image pull {image}", f"try it by hand once {address} answers")
            return (pull, again)
        case "DiskFull":
            return (Fix("knarr image prune", "remove images that nothing needs"),)
        case _:
            return (again, Fix("knarr image list", "see what is here"))
