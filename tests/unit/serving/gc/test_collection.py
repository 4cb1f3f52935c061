"""Which Revisions go."""

import datetime as dt

import msgspec
import pytest

from knarr.kits.clock import format_timestamp
from knarr.resources.config.gc import GcConfig
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.serving.gc.plan import plan_collection

NOW = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
CONFIGURATION = msgspec.convert(
    {"metadata": {"name": "app"}, "status": {"latestReadyRevisionName": "r9"}}, Configuration
)


def revision(name, hours=100.0, active_hours=None, state="reserve", **annotations):
    created = format_timestamp(NOW - dt.timedelta(hours=hours))
    if active_hours is not None:
        moment = format_timestamp(NOW - dt.timedelta(hours=active_hours))
        annotations["serving.knative.dev/routingStateModified"] = moment
    meta = {
        "name": name,
        "creationTimestamp": created,
        "labels": {"serving.knative.dev/routingState": state},
        "annotations": annotations,
    }
    return msgspec.convert({"metadata": meta}, Revision)


def names(config, *revisions):
    return [item.metadata.name for item in collect(config, *revisions).revisions]


def collect(config, *revisions):
    return plan_collection(config, CONFIGURATION, revisions, NOW)


NONE_KEPT = GcConfig(min_non_active_revisions=0)


@pytest.mark.parametrize(
    ("config", "revisions", "gone"),
    [
        pytest.param(NONE_KEPT, [revision("r1")], ["r1"], id="old and idle"),
        pytest.param(NONE_KEPT, [revision("r1", state="active")], [], id="a route uses it"),
        pytest.param(NONE_KEPT, [revision("r1", state="pending")], [], id="not looked at yet"),
        pytest.param(NONE_KEPT, [revision("r9")], [], id="latest ready"),
        pytest.param(
            NONE_KEPT, [revision("r1", **{"serving.knative.dev/no-gc": "True"})], [], id="kept"
        ),
        pytest.param(NONE_KEPT, [revision("r1", hours=40)], [], id="too young"),
        pytest.param(NONE_KEPT, [revision("r1", active_hours=2)], [], id="active lately"),
        pytest.param(
            GcConfig(min_non_active_revisions=1),
            [revision("r1", 100), revision("r2", 90)],
            ["r1"],
            id="the least number stays, the newest of them",
        ),
        pytest.param(
            GcConfig(
                retain_since_create_time_s=None,
                retain_since_last_active_time_s=None,
                min_non_active_revisions=0,
                max_non_active_revisions=1,
            ),
            [revision("r1", 3), revision("r2", 2), revision("r3", 1)],
            ["r1", "r2"],
            id="beyond the most, however young",
        ),
        pytest.param(
            GcConfig(
                retain_since_create_time_s=None,
                retain_since_last_active_time_s=None,
                max_non_active_revisions=None,
                min_non_active_revisions=0,
            ),
            [revision("r1", 1e4)],
            [],
            id="everything disabled",
        ),
    ],
)
def test_collection(config, revisions, gone):
    assert names(config, *revisions) == gone


def test_when_to_look_again():
    young = revision("r1", hours=47, active_hours=1)
    assert collect(NONE_KEPT, young).again_in_s == pytest.approx(14 * 3600)
    assert collect(GcConfig(), young).again_in_s is None
