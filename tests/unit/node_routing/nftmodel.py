"""What nft's commands do to a table, as far as they are used: refuses what the kernel would refuse."""

import re


class Table:
    def __init__(self) -> None:
        self.containers: dict[str, dict[str, str]] = {}
        self.chains: dict[str, list[str]] = {}

    def state(self) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
        return self.containers, self.chains

    def load_base(self, text: str) -> None:
        for name in re.findall(r"^    (?:map|set) (\S+) \{", text, re.MULTILINE):
            self.containers[name] = {}
        for name, body in re.findall(
            r"^    chain (\S+) \{\n(.*?)^    \}", text, re.MULTILINE | re.DOTALL
        ):
            self.chains[name] = [line.strip() for line in body.splitlines()]

    def run(self, text: str) -> None:
        for line in text.splitlines():
            self._command(line)
        self._check()

    def _command(self, line: str) -> None:
        match = re.fullmatch(r"(add|delete|flush) (\w+) ip \S+ (\S+) ?(.*)", line)
        assert match is not None, line
        verb, what, name, rest = match.groups()
        match verb, what:
            case "add", "element":
                key, _, value = rest[2:-2].partition(" : ")
                assert key not in self.containers[name], f"{line}: exists"
                self.containers[name][key] = value
            case "delete", "element":
                del self.containers[name][rest[2:-2]]
            case "add", "set":
                assert name not in self.containers, line
                self.containers[name] = {}
            case "delete", "set":
                assert not any(
                    f"@{name} " in rule for rules in self.chains.values() for rule in rules
                ), line
                del self.containers[name]
            case "add", "chain":
                assert name not in self.chains, line
                self.chains[name] = []
            case "flush", "chain":
                self.chains[name] = []
            case "delete", "chain":
                assert not self._referred(name), f"{line}: in use"
                del self.chains[name]
            case "add", "rule":
                self.chains[name].append(rest)
            case _:
                raise AssertionError(line)

    def _referred(self, name: str) -> bool:
        texts = [rule for own, rules in self.chains.items() if own != name for rule in rules]
        texts += [value for entries in self.containers.values() for value in entries.values()]
        return any(re.search(rf"goto {re.escape(name)}(?![\w/.-])", text) for text in texts)

    def _check(self) -> None:
        for rules in self.chains.values():
            for rule in rules:
                for target in re.findall(r"goto ([^\s,}]+)", rule):
                    assert target in self.chains, rule
        for entries in self.containers.values():
            for value in entries.values():
                assert not value or value.removeprefix("goto ") in self.chains, value
