"""How a worker locks itself up. Everything here runs in the forked child, before it reads a byte of a
candidate.

Two layers, each enough to stop the common escapes:

- seccomp: an allow-list of system calls. Whatever is not on it fails with EPERM and the worker goes on, so
  that an honest mistake becomes a Python exception with a line. Numbers from 424 on (what kernels gained
  since 2019, the same on every architecture) fail with ENOSYS unless listed: C libraries try new calls and
  fall back on ENOSYS, but not on EPERM. So a newer C library or kernel does not break a worker, and a call
  invented tomorrow is closed today; both are why this is not a deny-list. `clone3` hides its flags in memory
  where a filter cannot look; ENOSYS makes the C library use `clone`, whose flags are checked. 32-bit and x32
  calls kill.
- Landlock: file access by path. Readable are the interpreter, the packages, this package and a few files of
  the system.

Profile "closed" opens nothing for writing, starts no process, has no socket call. Profile "compile" may also
run the executables of the Triton wheel and write below its scratch folder. Profile "device" drives a GPU:
the driver opens devices, maps what it likes and speaks ioctl, so there is no seccomp filter and no limit on
address space; Landlock still keeps its writes to the scratch folder and /dev. No candidate's wrapper runs in
it.

Beside the layers: resource limits, no capabilities (root keeps only "may read"), not dumpable, killed with
the server.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import termios
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Profile = Literal["closed", "compile", "device"]
PROFILES: tuple[Profile, ...] = ("closed", "compile", "device")

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_GET_NAME = 1, 4, 15, 16
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_SET_VMA = 36, 38, 0x53564D41

_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2

# Read, compute, wait, end. Names a machine's libseccomp or architecture lacks are left out.
_CALLS = """
    access brk clock_getres clock_gettime clock_nanosleep close close_range dup dup2 dup3 epoll_create1
    epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group faccessat faccessat2 fadvise64 fstat
    fstatfs futex futex_waitv get_mempolicy get_robust_list getcpu getcwd getdents64 getegid geteuid
    getgid getgroups getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
    getrusage getsid gettid gettimeofday getuid landlock_restrict_self lseek lstat madvise membarrier
    mincore mmap mprotect mremap munmap nanosleep newfstatat pipe pipe2 poll ppoll pread64 preadv
    pselect6 read readlink readlinkat readv restart_syscall rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_yield select
    set_robust_list set_tid_address sigaltstack stat statfs statx sysinfo time times uname write writev
""".split()
_COMPILE_CALLS = """
    arch_prctl chdir copy_file_range creat execve execveat fallocate fchdir fdatasync flock fork fsync
    ftruncate getdents link linkat mkdir mkdirat open openat pwrite64 pwritev rename renameat renameat2
    rmdir sendfile symlink symlinkat truncate umask unlink unlinkat vfork wait4 waitid
""".split()

_FIRST_MODERN_CALL, _LAST_MODERN_CALL = 424, 511

_CLONE_THREAD = 0x00010000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE_NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
_OPEN_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Not F_SETOWN and F_SETSIG, with which a descriptor sends any signal to any process.
_FCNTL = (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_DUPFD_CLOEXEC)
_FCNTL_LOCKS = (fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, 36, 37, 38)  # and F_OFD_*
_IOCTL = (
    termios.TCGETS,
    termios.TIOCGWINSZ,
    termios.FIONREAD,
    termios.FIONBIO,
    termios.FIONCLEX,
    termios.FIOCLEX,
)

# Landlock access rights by the ABI that introduced them (include/uapi/linux/landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_HANDLED = ((1, (1 << 13) - 1), (2, 1 << 13), (3, _TRUNCATE), (5, _IOCTL_DEV))
_HANDLED_NET = (4, 0b11)  # bind and connect over TCP
_SCOPED = (6, 0b11)  # abstract Unix sockets, signals: only within the sandbox
_SYSTEM_READABLE = (
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/null",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
)


# What chooses a device, and what finds its driver and the host's compiler.
DEVICE_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_PATH",
    "LD_LIBRARY_PATH",
    "TRITON_LIBCUDA_PATH",
    "CC",
)


class ConfinementError(Exception):
    """A layer that held in the server's probe could not be applied."""


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What one worker is confined to.

    `layers`: the layers that must hold, of `available_layers`. `readable`: files and folders, beside those of
    the system. `executable`: folders whose files may be run, `scratch`: the folder to write in (both
    "compile" only; "device" writes in its scratch folder and may run anything). `memory_bytes`: beyond what
    is mapped at the fork.
    """

    profile: Profile
    layers: tuple[str, ...]
    readable: tuple[str, ...]
    executable: tuple[str, ...] = ()
    scratch: str | None = None
    memory_bytes: int
    cpu_seconds: float


def available_layers() -> tuple[str, ...]:
    """What kernel and libraries offer, of ("landlock", "seccomp"). To be believed after a probe."""
    return tuple(
        name
        for name, offered in (("landlock", landlock_abi() >= 1), ("seccomp", _seccomp() is not None))
        if offered
    )


def confine(settings: Confinement, prepared: Any) -> None:
    """Give up every right that the profile does not need; there is no way back.

    `prepared` comes from `prepare_filter` for the same profile. Raises ConfinementError or OSError.
    """
    _limit_resources(settings)
    _drop_capabilities()
    _set_environment(settings)
    os.chdir(settings.scratch or "/")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if settings.profile != "device":  # the driver reads its own /proc entries, which would be root's
        _prctl(_PR_SET_DUMPABLE, 0)
    ruleset = landlock_ruleset(settings) if "landlock" in settings.layers else None
    if "seccomp" in settings.layers and settings.profile != "device":
        _load_filter(prepared)
    if ruleset is not None:
        _restrict_self(ruleset)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, also if that happened before this call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what dead children leave behind, so that it can be killed and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


# ----------------------------------------------------------------------------------------------------------
# limits


def _limit_resources(settings: Confinement) -> None:
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    seconds = max(1, round(settings.cpu_seconds))
    limits = {
        resource.RLIMIT_AS: (mapped + settings.memory_bytes,) * 2,
        resource.RLIMIT_CPU: (seconds, seconds + 2),  # SIGXCPU, and SIGKILL for those who ignore it
        resource.RLIMIT_FSIZE: (0 if settings.profile == "closed" else 1 << 30,) * 2,
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NOFILE: (64 if settings.profile == "closed" else 256,) * 2,
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    if settings.profile == "device":
        # Unified addressing reserves as much as all memory there is; pinned memory is locked memory.
        for name in (resource.RLIMIT_AS, resource.RLIMIT_MEMLOCK):
            del limits[name]
        limits[resource.RLIMIT_NOFILE] = (4096,) * 2
        limits[resource.RLIMIT_FSIZE] = (16 << 30,) * 2
    if (
        os.getuid() != 0 and settings.profile != "device"
    ):  # counts all of the user's threads and does not bind root; /proc/loadavg: "... 1/345 ..."
        threads = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].split("/")[1])
        limits[resource.RLIMIT_NPROC] = (threads + 256,) * 2
    # The kernel's choice when memory runs out, before anything of the user's.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for name, (soft, hard) in limits.items():
        _, most = resource.getrlimit(name)
        bound = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(name, (min(soft, bound), bound))


def _drop_capabilities() -> None:
    """Root without its powers, but one: without reading, a checkout of another user's is closed to it."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    current = (
        ctypes.c_uint32 * 6
    )()  # effective, permitted, inheritable for bits 0 to 31, and again for 32 to 63
    _check("capget", _libc().capget(header, current))
    kept = current[1] & _CAP_DAC_READ_SEARCH
    _check("capset", _libc().capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))


def _set_environment(settings: Confinement) -> None:
    scratch = settings.scratch
    names = DEVICE_VARIABLES if settings.profile == "device" else ()
    kept = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update({"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    if scratch is not None:
        folders = dict.fromkeys(("HOME", "TMPDIR", "TRITON_HOME"), scratch)
        os.environ.update({"PATH": "/usr/bin:/bin", "TRITON_CACHE_DIR": f"{scratch}/cache", **folders})
    if settings.profile == "device":
        os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        os.environ["CUDA_CACHE_PATH"] = f"{scratch}/driver"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/inductor"
        os.environ["USER"] = "worker"  # asked for where the user has no name


# ---------------------------------------------------------------------------------------------------------
# seccomp


@cache
def _seccomp() -> Any:
    try:
        import pyseccomp  # noqa: PLC0415  raises RuntimeError where libseccomp is not installed
    except (ImportError, RuntimeError):
        return None
    return pyseccomp


def prepare_filter(profile: Profile) -> Any:
    """The seccomp filter of a profile (a pyseccomp.SyscallFilter); None without libseccomp and for
    "device".
    """
    seccomp = _seccomp()
    if seccomp is None or profile == "device":
        return None
    built = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    built.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    built.set_attr(seccomp.Attr.CTL_NNP, 0)  # set by `confine`, whatever layers hold
    compiling = profile == "compile"
    names = (*_CALLS, *(_COMPILE_CALLS if compiling else ()))
    allowed = {number for number in map(_number, names) if number is not None}
    for number in sorted(allowed):
        built.add_rule(seccomp.ALLOW, number)
    for number in range(_FIRST_MODERN_CALL, _LAST_MODERN_CALL + 1):
        if number not in allowed:
            built.add_rule(seccomp.ERRNO(errno.ENOSYS), number)

    def allow_if(name: str, argument: int, mask: int, value: int) -> None:
        number = _number(name)
        if number is not None:
            built.add_rule(seccomp.ALLOW, number, seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value))

    word = 0xFFFFFFFF  # these arguments are ints: the kernel ignores the upper half of the register, so do we
    if compiling:
        allow_if("clone", 0, _CLONE_NAMESPACES, 0)
    else:
        allow_if("clone", 0, _CLONE_NAMESPACES | _CLONE_THREAD, _CLONE_THREAD)
        allow_if("open", 1, _OPEN_FOR_WRITING, 0)
        allow_if("openat", 2, _OPEN_FOR_WRITING, 0)
    for command in (*_FCNTL, *(_FCNTL_LOCKS if compiling else ())):
        allow_if("fcntl", 1, word, command)
    for request in _IOCTL:
        allow_if("ioctl", 1, word, request)
    for option in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA):
        allow_if("prctl", 0, word, option)
    allow_if("prlimit64", 2, (1 << 64) - 1, 0)  # without a new limit it only asks
    return built


def _load_filter(prepared: Any) -> None:
    seccomp = _seccomp()
    if seccomp is None or prepared is None:
        raise ConfinementError("expected a prepared seccomp filter, got none")
    # abort() signals its own thread; the process id is known only now.
    own = seccomp.Arg(0, seccomp.EQ, os.getpid())
    prepared.add_rule(seccomp.ALLOW, "tgkill", own)
    prepared.load()


def _number(name: str) -> int | None:
    number = _seccomp().resolve_syscall(_seccomp().Arch.NATIVE, name)
    return number if number >= 0 else None


# --------------------------------------------------------------------------------------------------------
# Landlock


@cache
def landlock_abi() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    try:
        from landlock import plumbing  # noqa: PLC0415  may be absent
    except ImportError:
        return 0
    ctypes.set_errno(0)  # the package takes any errno left from an earlier call for its own
    try:
        return int(plumbing.landlock_abi_version())
    except OSError:
        return 0


def landlock_ruleset(settings: Confinement) -> int:
    """A ruleset descriptor: every right that the kernel knows is handled, the profile's are granted."""
    from landlock import plumbing  # noqa: PLC0415  may be absent

    class RulesetAttr(plumbing.RulesetAttr):  # the kernel's struct has grown since
        _fields_ = (("handled_access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))

    abi = landlock_abi()
    handled = 0
    for introduced, rights in _HANDLED:
        handled |= rights if abi >= introduced else 0
    net, scoped = (rights if abi >= introduced else 0 for introduced, rights in (_HANDLED_NET, _SCOPED))
    attributes = RulesetAttr(handled, net, scoped)
    size = 24 if scoped else 16 if net else 8
    ctypes.set_errno(0)
    ruleset = int(plumbing.get_create_ruleset()(ctypes.byref(attributes), size, 0))

    def allow(paths: Iterable[str], rights: int) -> None:
        for path in paths:
            try:
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except (FileNotFoundError, PermissionError):
                continue  # what is not there needs no permission
            granted = rights & handled & (~0 if os.path.isdir(path) else _FILE_RIGHTS)
            ctypes.set_errno(0)
            plumbing.get_add_rule()(
                ruleset, 1, ctypes.byref(plumbing.PathBeneathAttr(granted, descriptor)), 0
            )
            os.close(descriptor)

    allow((*_SYSTEM_READABLE, *settings.readable), _READ_FILE | _READ_DIR)
    if settings.profile == "device":
        allow(("/",), _READ_FILE | _READ_DIR | _EXECUTE)
        allow(("/dev",), handled)
        if settings.scratch is not None:
            allow((settings.scratch,), handled)
    if settings.profile == "compile":
        loaders = [str(path) for folder in ("/lib64", "/lib") for path in Path(folder).glob("ld-*.so*")]
        allow((*settings.executable, *loaders), _READ_FILE | _READ_DIR | _EXECUTE)
        allow(("/dev/null",), _READ_FILE | _WRITE_FILE)
        if settings.scratch is not None:
            allow((settings.scratch,), handled & ~_EXECUTE & ~_IOCTL_DEV)
    return ruleset


def _restrict_self(ruleset: int) -> None:
    from landlock import plumbing  # noqa: PLC0415  may be absent

    ctypes.set_errno(0)
    plumbing.get_restrict_self()(ruleset, 0)
    os.close(ruleset)


# ---------------------------------------------------------------------------------------------------------
# libc


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _check("prctl", _libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _check(call: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
