"""The system calls that a container may make: an allow-list, everything else fails with EPERM.

Left out on purpose, beside what needs a capability that containers do not have: new namespaces, mounts in
both interfaces, kernel keyrings, bpf, perf, userfaultfd, io_uring, ptrace and its relatives, handles that
name files outside the root, and socket families other than Unix, IPv4, IPv6 and netlink.

Only the machine's own 64-bit calls exist: the 32-bit ones are seldom used and often attacked, and compiling
the filter for them too took 16 ms of every start.
"""

from typing import Any

_EPERM, _ENOSYS = 1, 38
_CLONE_NAMESPACES = 0x7E020000
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_FAMILIES = (1, 2, 10, 16)

_FILES = """
access faccessat faccessat2 open openat openat2 creat close close_range read pread64 preadv preadv2 readv
write pwrite64 pwritev pwritev2 writev lseek _llseek sendfile sendfile64 splice tee vmsplice copy_file_range
readahead fadvise64 fadvise64_64 sync_file_range fsync fdatasync sync syncfs fallocate truncate truncate64
ftruncate ftruncate64 stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64
fstatfs fstatfs64 getdents getdents64 getcwd chdir fchdir chroot mkdir mkdirat rmdir rename renameat
renameat2 link linkat symlink symlinkat readlink readlinkat unlink unlinkat mknod mknodat chmod fchmod
fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat umask utime utimes utimensat
utimensat_time64 futimesat getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr
fsetxattr removexattr lremovexattr fremovexattr getxattrat setxattrat listxattrat removexattrat dup dup2
dup3 fcntl fcntl64 flock ioctl pipe pipe2 memfd_create memfd_secret cachestat inotify_init inotify_init1
inotify_add_watch inotify_rm_watch landlock_create_ruleset landlock_add_rule landlock_restrict_self
"""
_MEMORY = """
brk mmap mmap2 munmap mremap mprotect pkey_alloc pkey_free pkey_mprotect madvise process_madvise
process_mrelease mincore msync mlock mlock2 mlockall munlock munlockall membarrier remap_file_pages mseal
map_shadow_stack get_mempolicy modify_ldt arch_prctl set_thread_area get_thread_area set_tls get_tls
"""
_PROCESSES = """
execve execveat exit exit_group fork vfork wait4 waitpid waitid getpid getppid gettid getpgid getpgrp
setpgid getsid setsid kill tkill tgkill pidfd_open pidfd_send_signal prctl seccomp set_tid_address
set_robust_list get_robust_list futex futex_waitv futex_time64 futex_wake futex_wait futex_requeue rseq
restart_syscall sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam
sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max
sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 getpriority setpriority ioprio_get
ioprio_set getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname getcpu alarm pause
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal signalfd signalfd4 sigpending
sigprocmask sigreturn sigsuspend uretprobe
"""
_IDENTITY = """
getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid
getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32
setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32
capget capset
"""
_TIME = """
time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
clock_nanosleep_time64 nanosleep getitimer setitimer timer_create timer_delete timer_getoverrun
timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 adjtimex
"""
_COMMUNICATION = """
socketcall socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt send
sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown poll ppoll ppoll_time64
select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait
epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 io_setup io_submit io_cancel io_destroy
io_getevents io_pgetevents io_pgetevents_time64 mq_open mq_unlink mq_timedsend mq_timedsend_time64
mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl
semop semtimedop semtimedop_time64 shmget shmat shmctl shmdt ipc getrandom
"""

ALLOWED: tuple[str, ...] = tuple(
    sorted(
        {
            name
            for part in (_FILES, _MEMORY, _PROCESSES, _IDENTITY, _TIME, _COMMUNICATION)
            for name in part.split()
        }
    )
)


def _when(name: str, value: int, operator: str = "SCMP_CMP_EQ", second: int = 0) -> dict[str, Any]:
    condition = {"index": 0, "value": value, "valueTwo": second, "op": operator}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}


_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def default_profile(machine: str) -> dict[str, Any]:
    """The profile as the OCI runtime specification's ``linux.seccomp``.

    Args:
        machine: as uname(2) says it.
    """
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [_ARCHITECTURES[machine]],
        "syscalls": [
            {"names": list(ALLOWED), "action": "SCMP_ACT_ALLOW"},
            *(_when("personality", value) for value in _PERSONALITIES),
            *(_when("socket", family) for family in _FAMILIES),
            _when("clone", _CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ"),
            # Its flags lie in memory, where no filter can look; the C libraries fall back to clone.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        ],
    }
