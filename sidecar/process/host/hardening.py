"""What the process changes before it serves: file limit, privileges, memory."""

import gc
import grp
import os
import pwd
import resource
from dataclasses import dataclass


class HardeningError(Exception):
    """The process cannot become what the configuration asks for."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account to change to."""

    name: str
    uid: int
    gid: int


def account(name: str) -> Account:
    """The account `user` or `user:group`, names or numbers; raises `HardeningError`."""
    user, _, group = name.partition(":")
    uid, gid = _user(user)
    return Account(name, uid, _group(group) if group else gid)


def _user(user: str) -> tuple[int, int]:
    if user.isdecimal():
        return int(user), int(user)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise HardeningError(f"there is no user {user!r}") from None
    return entry.pw_uid, entry.pw_gid


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise HardeningError(f"there is no group {group!r}") from None


def raise_file_limit(wanted: int | None = None) -> int:
    """Ask for `wanted` file descriptors, or as many as the hard limit allows; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if wanted is None or (hard != resource.RLIM_INFINITY and wanted > hard) else wanted
    if soft != limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):  # an unlimited hard limit above what the kernel grants
            return soft
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def drop_root(to: Account) -> bool:
    """Change to the account `to` for good, if this process is root; whether it was. Raises `HardeningError`."""
    if os.geteuid() != 0 or to.uid == 0:
        return False
    try:
        os.setgroups([])
        os.setgid(to.gid)
        os.setuid(to.uid)
    except OSError as error:
        raise HardeningError(f"cannot become {to.name}: {error.strerror}") from None
    if os.geteuid() == 0 or os.getegid() == 0:
        raise HardeningError(f"still root after becoming {to.name}")
    return True


def occupy_standard_descriptors() -> frozenset[int]:
    """Put /dev/null where standard input, output or error is closed; which ones were.

    Else the next socket would get that number, and a line meant for a log would go to a client.
    """
    closed = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    return frozenset(closed)


def forbid_core_dumps() -> None:
    """A core file would hold private keys and tokens."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def settle_memory() -> None:
    """Exclude all present objects from garbage collection: they stay, and scanning them would stall the event loop for
    a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()


def resident_bytes() -> int:
    """Resident memory of this process, or 0 where /proc does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 — on the loop once a second: the cheap call
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
