"""What holds of every split and every rollout."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from knarr.meta.conditions import Condition
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.serving.configuration import Configuration, ConfigurationStatus
from knarr.resources.serving.revision import Revision, RevisionStatus
from knarr.resources.serving.route import Route, RouteSpec
from knarr.resources.serving.traffic import TrafficTarget
from knarr.serving.route.rollout import (
    build_rollout,
    format_rollout,
    observe_ready,
    parse_rollout,
    shares_of,
    step_rollout,
)
from knarr.serving.route.traffic import Traffic, resolve_traffic

SECOND = 1_000_000_000
NAMES = [f"app-{number:05d}" for number in range(1, 6)]
READY = (Condition(type="Ready", status="True"),)


def revision(name):
    return Revision(
        metadata=ObjectMeta(
            name=name,
            namespace="ns",
            generation=1,
            labels={"serving.knative.dev/configuration": "app"},
        ),
        status=RevisionStatus(observed_generation=1, conditions=READY),
    )


REVISIONS = {Key("ns", name): revision(name) for name in NAMES}


def configuration_of(latest):
    found = Configuration(
        metadata=ObjectMeta(name="app", namespace="ns"),
        status=ConfigurationStatus(latest_ready_revision_name=latest),
    )
    return {Key("ns", "app"): found}.get


def resolve(targets, latest=NAMES[-1]):
    route = Route(
        metadata=ObjectMeta(name="app", namespace="ns"), spec=RouteSpec(traffic=tuple(targets))
    )
    found = resolve_traffic(route, configuration_of(latest), REVISIONS.get)
    assert isinstance(found, Traffic)
    return found


@st.composite
def spec_targets(draw):
    count = draw(st.integers(1, 6))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    percents = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    targets = []
    for index, percent in enumerate(percents):
        tag = draw(st.sampled_from(["", f"t{index}"]))
        if draw(st.booleans()):
            targets.append(
                TrafficTarget(
                    tag=tag, configuration_name="app", latest_revision=True, percent=percent
                )
            )
        else:
            name = draw(st.sampled_from(NAMES))
            targets.append(
                TrafficTarget(tag=tag, revision_name=name, latest_revision=False, percent=percent)
            )
    return targets


@given(spec_targets())
def test_every_group_sums_to_100_and_names_each_revision_once(targets):
    traffic = resolve(targets)
    default = traffic.targets[""]
    assert sum(item.percent for item in default) == 100
    for tag, group in traffic.targets.items():
        assert len({item.revision for item in group}) == len(group)
        if tag:
            assert [item.percent for item in group] == [100]
    assert sum(item.percent for item in traffic.listed) == 100


@given(spec_targets())
def test_a_rollouts_annotation_is_read_as_it_was_written(targets):
    rollout = build_rollout(resolve(targets).targets)
    assert parse_rollout(format_rollout(rollout)) == (
        rollout if rollout.configurations else parse_rollout("{}")
    )


@given(
    st.integers(2, 100),
    st.integers(2, 3600),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60),
)
def test_a_rollout_moves_forward_only_and_ends_at_its_goal(percent, duration_s, took_s, passes):
    """Whatever the timing of passes, and even when yet another revision comes in between."""

    def goal(latest):
        rest = [TrafficTarget(revision_name=NAMES[0], latest_revision=False, percent=100 - percent)]
        latest_target = TrafficTarget(
            configuration_name="app", latest_revision=True, percent=percent
        )
        targets = [latest_target, *(rest if percent < 100 else [])]
        return build_rollout(resolve(targets, latest).targets)

    now = 1_700_000_000 * SECOND
    index = 1
    state = goal(NAMES[index])
    index += 1
    state = step_rollout(goal(NAMES[index]), state, now).rollout
    now += took_s * SECOND
    state = observe_ready(state, now, duration_s)
    for pause_s, newer in passes:
        now += pause_s * SECOND
        if newer and index < len(NAMES) - 1:
            index += 1
        before = {item.revision_name: item.percent for item in state.configurations[0].revisions}
        step = step_rollout(goal(NAMES[index]), state, now)
        state = observe_ready(step.rollout, now, duration_s)
        shares = state.configurations[0].revisions
        assert sum(item.percent for item in shares) == percent
        assert all(item.percent > 0 for item in shares)
        assert shares[-1].revision_name == NAMES[index]
        assert shares[-1].percent >= before.get(NAMES[index], 0)
        assert parse_rollout(format_rollout(state)) == state
        assert state.done == (len(shares) == 1)
    for _ in range(2 * percent + 2):
        now += (duration_s + 1) * SECOND
        state = observe_ready(step_rollout(goal(NAMES[index]), state, now).rollout, now, duration_s)
    assert state == goal(NAMES[index])


@given(st.integers(2, 100), st.integers(2, 600))
def test_a_rollout_takes_about_its_duration(percent, duration_s):
    def goal(latest):
        targets = [
            TrafficTarget(configuration_name="app", latest_revision=True, percent=percent),
            TrafficTarget(revision_name=NAMES[0], latest_revision=False, percent=100 - percent),
        ]
        return build_rollout(resolve(targets, latest).targets)

    start = now = 1_700_000_000 * SECOND
    state = step_rollout(goal(NAMES[3]), goal(NAMES[2]), now).rollout
    now += SECOND // 2
    state = observe_ready(state, now, duration_s)
    for _ in range(1000):
        step = step_rollout(goal(NAMES[3]), state, now)
        state = step.rollout
        if state.done:
            break
        assert step.next_ns > now
        now = step.next_ns
    took_s = (now - start) / SECOND
    assert state.done
    assert took_s <= 2 * duration_s + 1


@given(spec_targets(), st.sampled_from(NAMES))
def test_without_a_rollout_each_target_has_one_share(targets, latest):
    traffic = resolve(targets, latest)
    rollout = build_rollout(traffic.targets)
    for target in traffic.listed:
        shares = shares_of(target, target.tag, rollout)
        assert [(item.revision_name, item.percent) for item in shares] == [
            (target.revision, target.percent)
        ]
        assert msgspec.json.encode(shares)
