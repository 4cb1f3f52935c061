import msgspec
import pytest

from knarr.node.bundle import (
    BadContainer,
    Bind,
    ContainerConfig,
    Limits,
    NamespacePaths,
    clean_path,
    cpu_shares,
    oci_config,
)
from knarr.node.seccomp import ALLOWED, default_profile
from knarr.node.users import Identity


def config(**changes) -> ContainerConfig:
    values = {
        "hostname": "h", "rootfs": "/run/x/rootfs", "arguments": ("/app",), "environment": {"A": "1"},
        "working_dir": "/", "identity": Identity(1000, 1000, (2000,)), "id_base": 196608,
        "namespaces": NamespacePaths("/run/user", "/run/net"), "cgroup_path": "/knarr/sb/c", "limits": Limits(),
    }  # fmt: skip
    return ContainerConfig(**{**values, **changes})


def test_the_defaults_give_no_right_that_was_not_asked_for():
    document = oci_config(config(seccomp=default_profile("x86_64")))
    process = document["process"]
    assert all(names == [] for names in process["capabilities"].values())
    assert process["noNewPrivileges"] is True
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [2000]}
    assert process["oomScoreAdj"] == 0
    kinds = {one["type"]: one.get("path") for one in document["linux"]["namespaces"]}
    assert set(kinds) == {"pid", "mount", "uts", "cgroup", "ipc", "network", "user"}
    assert (kinds["network"], kinds["user"]) == ("/run/net", "/run/user")
    assert document["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 196608, "size": 65536}]
    assert document["linux"]["cgroupsPath"].startswith("/")
    assert "/proc/sys" in document["linux"]["readonlyPaths"]
    mounts = {one["destination"]: one for one in document["mounts"]}
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    assert "ro" in mounts["/sys"]["options"]
    assert not document["process"]["terminal"]
    msgspec.json.encode(document)


def test_an_oom_score_is_never_negative():
    assert oci_config(config(oom_score_adj=-900))["process"]["oomScoreAdj"] == 0


@pytest.mark.parametrize(
    ("limits", "unified", "expected"),
    [
        (Limits(), False, {"cpu": {"shares": 2}, "pids": {"limit": 4096}}),
        (
            Limits(cpu_request_milli=500, cpu_limit_milli=1500, memory_bytes=1 << 20, pids=10), False,
            {"cpu": {"shares": 512, "period": 100000, "quota": 150000}, "pids": {"limit": 10},
             "memory": {"limit": 1 << 20, "swap": 1 << 20}},
        ),
        (
            Limits(cpu_limit_milli=1, memory_bytes=5), True,
            {"cpu": {"shares": 2, "period": 100000, "quota": 1000}, "pids": {"limit": 4096},
             "memory": {"limit": 5, "swap": 5}, "unified": {"memory.oom.group": "1"}},
        ),
    ],
)  # fmt: skip
def test_limits_become_cgroup_values(limits, unified, expected):
    resources = oci_config(config(limits=limits, unified_cgroups=unified))["linux"]["resources"]
    del resources["devices"]
    assert resources == expected


def test_shares_stay_within_the_kernels_range():
    assert (cpu_shares(0), cpu_shares(1000), cpu_shares(10**9)) == (2, 1024, 262144)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/proc/self/fd/7", "/a\0b"])
def test_working_directories_that_lead_astray_are_refused(path):
    with pytest.raises(BadContainer, match="workingDir"):
        oci_config(config(working_dir=path))


def test_paths_are_cleaned():
    assert clean_path("//a//b/./", "mountPath") == "/a/b"
    assert clean_path("/", "mountPath") == "/"


@pytest.mark.parametrize("target", ["/", "/proc/x", "/sys", "/dev/null", "/dev"])
def test_nothing_is_mounted_over_the_kernels_own(target):
    with pytest.raises(BadContainer, match="mountPath"):
        oci_config(config(binds=(Bind("/src", target),)))


def test_binds_carry_no_devices_and_no_setuid():
    document = oci_config(
        config(binds=(Bind("/s", "/data", read_only=True), Bind("/s", "/dev/shm")))
    )
    first, second = document["mounts"][-2:]
    assert first["options"] == ["rbind", "rprivate", "nosuid", "nodev", "ro"]
    assert second["destination"] == "/dev/shm"


@pytest.mark.parametrize("environment", [{"A=B": "x"}, {"": "x"}, {"A": "x\0y"}])
def test_variables_that_cannot_be_set_are_refused(environment):
    with pytest.raises(BadContainer, match="environment"):
        oci_config(config(environment=environment))


@pytest.mark.parametrize("arguments", [(), ("",)])
def test_a_container_without_a_command_is_refused(arguments):
    with pytest.raises(BadContainer, match="no command specified"):
        oci_config(config(arguments=arguments))


def test_the_allow_list_leaves_out_what_reaches_the_kernel_from_a_container():
    forbidden = {
        "mount", "umount2", "unshare", "setns", "bpf", "perf_event_open", "ptrace", "keyctl", "add_key",
        "userfaultfd", "io_uring_setup", "kexec_load", "init_module", "open_by_handle_at", "pivot_root",
        "move_mount", "fsopen", "process_vm_readv", "reboot", "swapon", "clone", "clone3", "socket",
    }  # fmt: skip
    assert not forbidden & set(ALLOWED)
    profile = default_profile("aarch64")
    assert profile["architectures"][0] == "SCMP_ARCH_AARCH64"
    clone = next(one for one in profile["syscalls"] if one["names"] == ["clone"])
    assert clone["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
