"""Laws of binding claims to volumes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from knarr.resources.core.persistentvolume import PersistentVolume
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.workloads.volumes.plan import amount, best_volume, capacity_of, plan_claim

SIZES = st.sampled_from(["100Mi", "1Gi", "2Gi", "10Gi"])
MODES = st.lists(
    st.sampled_from(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]), min_size=1, unique=True
)
CLASSES = st.sampled_from(["", "a", "b"])


@st.composite
def volumes(draw):
    result = []
    for number in range(draw(st.integers(0, 6))):
        spec = {
            "capacity": {"storage": draw(SIZES)},
            "accessModes": draw(MODES),
            "storageClassName": draw(CLASSES),
        }
        if draw(st.booleans()):
            uid = draw(st.sampled_from(["", "me", "other"]))
            name = "c" if uid != "other" else "d"
            spec["claimRef"] = {"namespace": "ns", "name": name, "uid": uid}
        document = {"metadata": {"name": f"v{number}"}, "spec": spec}
        result.append(msgspec.convert(document, PersistentVolume))
    return result


@st.composite
def claims(draw):
    spec = {
        "accessModes": draw(MODES),
        "resources": {"requests": {"storage": draw(SIZES)}},
        "storageClassName": draw(CLASSES),
    }
    metadata = {"name": "c", "namespace": "ns", "uid": "me"}
    return msgspec.convert({"metadata": metadata, "spec": spec}, PersistentVolumeClaim)


@given(claims(), volumes())
def test_a_volume_of_somebody_else_is_never_taken(claim, found):
    chosen = best_volume(claim, found)
    if chosen is not None and chosen.spec.claim_ref is not None:
        assert chosen.spec.claim_ref.name == "c"
        assert chosen.spec.claim_ref.uid in ("", "me")


@given(claims(), volumes())
def test_a_free_volume_that_is_taken_fits_and_none_smaller_does(claim, found):
    chosen = best_volume(claim, found)
    if chosen is None or chosen.spec.claim_ref is not None:
        return
    wanted = amount(claim.spec.resources.requests["storage"])

    def fits(volume):
        return (
            volume.spec.claim_ref is None
            and volume.spec.storage_class_name == claim.spec.storage_class_name
            and set(claim.spec.access_modes) <= set(volume.spec.access_modes)
            and amount(capacity_of(volume)) >= wanted
        )

    assert fits(chosen)
    assert amount(capacity_of(chosen)) == min(
        amount(capacity_of(each)) for each in found if fits(each)
    )


@given(claims(), volumes(), st.randoms())
def test_the_choice_does_not_depend_on_the_order(claim, found, random):
    reserved = [each for each in found if each.spec.claim_ref is not None]
    if sum(each.spec.claim_ref.name == "c" for each in reserved) > 1:
        return
    shuffled = list(found)
    random.shuffle(shuffled)
    first, second = best_volume(claim, found), best_volume(claim, shuffled)
    assert (first and first.metadata.name) == (second and second.metadata.name)


@given(claims(), volumes(), st.booleans())
def test_a_plan_says_why_whenever_it_does_not_bind(claim, found, used):
    plan = plan_claim(claim, found, None, used=used)
    assert plan.step in ("bind", "wait")
    assert (plan.step == "bind") == (plan.volume is not None)
    assert bool(plan.message) == (plan.step == "wait")
