"""``--traffic``, ``--tag`` and ``--untag``: from a Service's targets to new ones; pure."""

from typing import Any

from knarr.cli.nouns.flags import Edit
from knarr.cli.output import CommandError, ExitCode

Target = dict[str, Any]
LATEST = "@latest"


def edit_traffic(targets: list[Target], edit: Edit) -> list[Target]:
    """The targets with what the flags say; unchanged without flags.

    Raises:
        CommandError: a flag's value makes no sense, or the percents do not sum up to 100.
    """
    if not (edit.traffic or edit.tag or edit.untag):
        return targets
    found = [dict(one) for one in targets] or [{"latestRevision": True, "percent": 100}]
    for tag in _listed(edit.untag):
        _untag(found, tag)
    for text in _listed(edit.tag):
        _tag(found, *_split("--tag", text))
    if edit.traffic:
        _share(found, [_split("--traffic", text) for text in _listed(edit.traffic)])
    return [one for one in found if one.get("percent") or one.get("tag")]


def _listed(texts: list[str] | None) -> list[str]:
    return [part for text in texts or () for part in text.split(",") if part]


def _split(flag: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise CommandError(f"{flag} {text!r} is not REVISION=VALUE", code=ExitCode.USAGE)
    return name, value


def _untag(targets: list[Target], tag: str) -> None:
    found = [one for one in targets if one.get("tag") == tag]
    if not found:
        raise CommandError(f"no target has the tag {tag!r}", code=ExitCode.USAGE)
    for one in found:
        del one["tag"]


def _is(target: Target, name: str) -> bool:
    if name == LATEST:
        return bool(target.get("latestRevision"))
    return bool(target.get("revisionName") == name)


def _new(name: str) -> Target:
    if name == LATEST:
        return {"latestRevision": True, "percent": 0}
    return {"revisionName": name, "latestRevision": False, "percent": 0}


def _tag(targets: list[Target], name: str, tag: str) -> None:
    holders = [one for one in targets if one.get("tag") == tag]
    if holders and not _is(holders[0], name):
        raise CommandError(
            f"tag {tag!r} is on another revision",
            f"--untag {tag} --tag {name}={tag}",
            ExitCode.USAGE,
        )
    if holders:
        return
    free = next((one for one in targets if _is(one, name) and not one.get("tag")), None)
    if free is None:
        free = _new(name)
        targets.append(free)
    free["tag"] = tag


def _share(targets: list[Target], shares: list[tuple[str, str]]) -> None:
    total = 0
    for one in targets:
        one["percent"] = 0
    for name, text in shares:
        percent = int(text.removesuffix("%")) if text.removesuffix("%").isdigit() else -1
        if not 0 <= percent <= 100:
            raise CommandError(f"{text!r} is no percentage from 0 to 100", code=ExitCode.USAGE)
        total += percent
        target = next((one for one in targets if one.get("tag") == name), None)
        target = target or next((one for one in targets if _is(one, name)), None)
        if target is None:
            target = _new(name)
            targets.append(target)
        target["percent"] = percent
    if total != 100:
        raise CommandError(
            f"the percents of --traffic sum up to {total}, not to 100", code=ExitCode.USAGE
        )
