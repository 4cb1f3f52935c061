"""Ask Kubernetes' own libraries about the expressions and rules of ``tests/unit/apiserver/cel`` again.

    cd tests/reference/cel && go mod tidy && go build -o /tmp/cel-reference . && python record.py /tmp/cel-reference

What agrees with Kubernetes is written under ``same``, what does not under ``different`` with our result.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
DATA = ROOT / "tests" / "unit" / "apiserver" / "cel"


def ask(
    program: str, arguments: list[str], questions: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    text = "".join(json.dumps(each) + "\n" for each in questions)
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines(rows: list[Any]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"


def record_expressions(program: str) -> None:
    from tests.unit.apiserver.cel.test_expressions import outcome

    data = json.loads((DATA / "expressions.json").read_text())
    sources = [row[0] for row in (*data["same"], *data["different"])]
    common = {"schema": data["schema"], "self": data["self"], "oldSelf": data["self"]}
    answers = ask(program, [], [{**common, "expr": source} for source in sources])
    same, different = [], []
    for source, answer in zip(sources, answers, strict=True):
        kind, text = outcome(source)
        reference = {**answer, "error": answer.get("error", answer.get("program"))}
        (same if reference.get(kind) == text else different).append([source, kind, text])
    parts = {"schema": json.dumps(data["schema"]), "self": json.dumps(data["self"])}
    parts |= {"same": lines(same), "different": lines(different)}
    body = ",\n".join(f'"{name}": {text}' for name, text in parts.items())
    (DATA / "expressions.json").write_text("{" + body + "}\n")
    print(f"{len(same)} expressions as in Kubernetes, {len(different)} different")


def record_rules(program: str) -> None:
    cases = json.loads((DATA / "rules.json").read_text())
    questions = [
        {name: case[name] for name in ("schema", "obj", "old") if case[name] is not None}
        for case in cases
    ]
    for case, answer in zip(cases, ask(program, ["rules"], questions), strict=True):
        told = [
            text.replace("spec.versions[0].schema", "spec.validation")
            for text in answer["definition"]
            # of the whole version, and of estimated costs
            if not text.startswith(("spec.versions: ", "spec.versions[0].schema.openAPIV3Schema: "))
            and "cost" not in text
        ]
        case |= {"definition": sorted(told), "errors": sorted(answer.get("errors") or [])}
    (DATA / "rules.json").write_text(lines(cases) + "\n")
    print(f"{len(cases)} schemas")


if __name__ == "__main__":
    record_expressions(sys.argv[1])
    record_rules(sys.argv[1])
