from typing import Any

import pytest
from tests.unit.resources.builders import admission, causes, completed, decode

from knarr.resources.batch.cronjob import CRON_JOB
from knarr.resources.batch.job import JOB

TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
LABELS = {
    "batch.kubernetes.io/controller-uid": "u",
    "batch.kubernetes.io/job-name": "j",
    "controller-uid": "u",
    "job-name": "j",
}


def job(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "j", "namespace": "ns", "uid": "u"},
        "spec": {"template": TEMPLATE, **spec},
    }


def stored(**spec: Any) -> dict[str, Any]:
    return completed(JOB, job(**spec))


def test_a_job_gets_its_selector_and_labels() -> None:
    result = stored()
    template = result["spec"].pop("template")
    assert result["spec"] == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
    }
    assert template["metadata"]["labels"] == LABELS
    assert result["metadata"]["labels"] == LABELS


def test_labels_of_the_template_are_kept() -> None:
    template = {"metadata": {"labels": {"app": "x"}}, **TEMPLATE}
    document = job(template=template)
    document["metadata"]["labels"] = {"own": "1"}
    result = completed(JOB, document)
    assert result["spec"]["template"]["metadata"]["labels"] == {"app": "x", **LABELS}
    assert result["metadata"]["labels"] == {"own": "1"}


@pytest.mark.parametrize(
    ("given", "parallelism", "completions"),
    [
        ({}, 1, 1),
        ({"parallelism": 3}, 3, None),
        ({"completions": 4}, 1, 4),
        ({"parallelism": 0}, 0, None),
    ],
)
def test_counts(given: dict[str, Any], parallelism: int, completions: int | None) -> None:
    spec = stored(**given)["spec"]
    assert (spec["parallelism"], spec.get("completions")) == (parallelism, completions)


def test_a_selector_by_hand_is_left_alone() -> None:
    template = {"metadata": {"labels": {"app": "x"}}, **TEMPLATE}
    given = job(manualSelector=True, selector={"matchLabels": {"app": "x"}}, template=template)
    assert completed(JOB, given)["spec"]["selector"] == {"matchLabels": {"app": "x"}}
    assert causes(JOB, given) == []
    other = job(manualSelector=True, selector={"matchLabels": {"app": "y"}}, template=template)
    assert causes(JOB, other) == [
        (
            "spec.template.metadata.labels",
            'Invalid value: {"app":"x"}: `selector` does not match template `labels`',
        )
    ]


JOB_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        "spec.template.spec.restartPolicy",
        'Required value: valid values: "OnFailure", "Never"',
    ),
    (
        {"parallelism": -1},
        "spec.parallelism",
        "Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        {"backoffLimit": -1},
        "spec.backoffLimit",
        "Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        {"completionMode": "Other"},
        "spec.completionMode",
        'Unsupported value: "Other": supported values: "Indexed", "NonIndexed"',
    ),
    (
        {"podReplacementPolicy": "Always"},
        "spec.podReplacementPolicy",
        'Unsupported value: "Always": supported values: "Failed", "TerminatingOrFailed"',
    ),
    (
        {"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "other"}}},
        "spec.selector",
        'Invalid value: {"matchLabels":{"batch.kubernetes.io/controller-uid":"other"}}: '
        "`selector` not auto-generated",
    ),
]


@pytest.mark.parametrize(("spec", "field", "message"), JOB_PROBLEMS)
def test_wrong_jobs(spec: dict[str, Any], field: str, message: str) -> None:
    assert causes(JOB, job(**spec)) == [(field, message)]


def test_labels_that_belong_to_another_job() -> None:
    template = {"metadata": {"labels": {"job-name": "other"}}, **TEMPLATE}
    (cause,) = causes(JOB, job(template=template))
    assert cause[0] == "spec.template.metadata.labels"
    assert cause[1].endswith("must be 'j'")


def changed(before: dict[str, Any], **spec: Any) -> list[str]:
    """The fields of the refusal of an update."""
    given = admission(decode(JOB, before))
    after = {**before, "spec": {**before["spec"], **spec}}
    return [field for field, _ in causes(JOB, after, given)]


def test_what_may_change() -> None:
    before = stored()
    assert changed(before) == []
    assert changed(before, parallelism=3, suspend=True, ttlSecondsAfterFinished=5) == []
    assert changed(before, completions=2) == ["spec.completions"]
    assert "spec.selector" in changed(before, selector={"matchLabels": {"a": "b"}})
    template = before["spec"]["template"]
    assert changed(
        before, template={**template, "spec": {**template["spec"], "hostname": "h"}}
    ) == ["spec.template"]


def test_where_a_suspended_job_runs_may_change_until_it_starts() -> None:
    before = stored(suspend=True)
    template = before["spec"]["template"]
    labels = {**template["metadata"]["labels"], "a": "b"}
    moved = {
        "metadata": {"labels": labels, "annotations": {"c": "d"}},
        "spec": {**template["spec"], "nodeSelector": {"disk": "ssd"}},
    }
    assert changed(before, template=moved) == []
    started = {**before, "status": {"startTime": "2026-01-01T00:00:00Z"}}
    assert changed(started, template=moved) == ["spec.template"]
    renamed = {**template, "spec": {**template["spec"], "hostname": "h"}}
    assert changed(before, template=renamed) == ["spec.template"]


def test_job_cells() -> None:
    def shown(document: dict[str, Any]) -> list[object]:
        now = 1_767_225_600.0
        return [column.cell(document, now) for column in JOB.columns[:3]]

    start = "2025-12-31T23:58:00Z"
    status = {"startTime": start, "succeeded": 1}
    assert shown({"spec": {"completions": 3}, "status": status}) == ["Running", "1/3", "2m"]
    done = {
        **status,
        "completionTime": "2025-12-31T23:58:09Z",
        "conditions": [{"type": "Complete", "status": "True"}],
    }
    assert shown({"spec": {"parallelism": 2}, "status": done}) == ["Complete", "1/1 of 2", "9s"]
    assert shown({"spec": {"parallelism": 1}}) == ["Running", "0/1", ""]
    suspended = {"conditions": [{"type": "Suspended", "status": "True"}]}
    assert shown({"status": suspended})[0] == "Suspended"
    going = {"metadata": {"deletionTimestamp": start}, "status": suspended}
    assert shown(going)[0] == "Terminating"


# --- CronJobs --------------------------------------------------------------------------------------------


def cron_job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"template": TEMPLATE}}
    return {
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"schedule": "* * * * *", "jobTemplate": template, **spec},
    }


def test_a_cron_job_is_completed_and_its_jobs_are_not() -> None:
    spec = completed(CRON_JOB, cron_job())["spec"]
    job_spec = spec.pop("jobTemplate")["spec"]
    assert spec == {
        "schedule": "* * * * *",
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }
    assert list(job_spec) == ["template"]
    assert job_spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert causes(CRON_JOB, cron_job(timeZone="Europe/Berlin")) == []


CRON_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"schedule": ""}, "spec.schedule", "Required value"),
    (
        {"schedule": "* * * *"},
        "spec.schedule",
        'Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]',
    ),
    (
        {"schedule": "CRON_TZ=UTC * * * * *"},
        "spec.schedule",
        'Invalid value: "CRON_TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone '
        "field instead",
    ),
    (
        {"timeZone": "Mars/Olympus"},
        "spec.timeZone",
        'Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus',
    ),
    (
        {"timeZone": "../etc/passwd"},
        "spec.timeZone",
        'Invalid value: "../etc/passwd": unknown time zone ../etc/passwd',
    ),
    (
        {"timeZone": ""},
        "spec.timeZone",
        'Invalid value: "": timeZone must be nil or non-empty string',
    ),
    (
        {"concurrencyPolicy": "Maybe"},
        "spec.concurrencyPolicy",
        'Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
    ),
    (
        {"failedJobsHistoryLimit": -1},
        "spec.failedJobsHistoryLimit",
        "Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        {"jobTemplate": {"spec": {"template": TEMPLATE, "manualSelector": True}}},
        "spec.jobTemplate.spec.manualSelector",
        'Unsupported value: true: supported values: "false", "nil"',
    ),
    (
        {"jobTemplate": {}},
        "spec.jobTemplate.spec.template.spec.containers",
        "Required value",
    ),
]


@pytest.mark.parametrize(("spec", "field", "message"), CRON_PROBLEMS)
def test_wrong_cron_jobs(spec: dict[str, Any], field: str, message: str) -> None:
    assert (field, message) in causes(CRON_JOB, cron_job(**spec))


def test_names_of_cron_jobs_leave_room_for_those_of_their_jobs() -> None:
    document = cron_job()
    document["metadata"]["name"] = "x" * 53
    assert [field for field, _ in causes(CRON_JOB, document)] == ["metadata.name"]


def test_cron_job_cells() -> None:
    document = {
        "spec": {"schedule": "@daily", "suspend": False},
        "status": {"active": [{}, {}], "lastScheduleTime": "2025-12-31T23:59:00Z"},
    }
    cells = [column.cell(document, 1_767_225_600.0) for column in CRON_JOB.columns[:5]]
    assert cells == ["@daily", "<none>", "False", 2, "60s"]
    assert CRON_JOB.columns[4].cell({}, 0) == "<none>"
