"""What Linux tells of processes in /proc: CPU time, memory, kinship; and the machine.

Elsewhere the figures are simply missing.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def children(parent: int) -> Iterator[int]:
    """The processes that this one has started and that still run."""
    for entry in PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and int(fields[1]) == parent:
            yield int(entry.name)


def descendants(parent: int) -> list[int]:
    """The process itself, and all that come from it."""
    found = [parent]
    for child in children(parent):
        found += descendants(child)
    return found


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """User and system time of each process so far, in steps of 10 ms; processes that have ended are missing."""
    return {pid: (int(fields[11]) + int(fields[12])) / _TICKS for pid in pids if (fields := _stat(pid))}


def busy_seconds() -> float:
    """CPU time of the whole machine so far, stolen time included; 0 where the system does not tell."""
    try:
        fields = (PROC / "stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, steal = (int(field) for field in fields[:8])
    return (user + nice + system + interrupts + soft + steal) / _TICKS


def cores() -> int:
    """How many processors may be used."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory now, and at its peak, in MiB."""
    values = {"VmRSS": 0.0, "VmHWM": 0.0}
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text("utf-8").splitlines():
            name, _, rest = line.partition(":")
            if name in values:
                values[name] = int(rest.split()[0]) / 1024
    return values["VmRSS"], values["VmHWM"]


def forget_peak(pid: int) -> None:
    """Let the peak begin anew from what the process holds now (proc(5), clear_refs)."""
    with suppress(OSError):
        (PROC / str(pid) / "clear_refs").write_text("5", "ascii")


def working_directory(pid: int) -> Path:
    """Where the process runs; an empty path if it is gone."""
    try:
        return (PROC / str(pid) / "cwd").readlink()
    except OSError:
        return Path()


def machine() -> str:
    """One line: CPU, cores, memory, kernel, Python, load."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{model}, {cores()} cores, {gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load before the start {load:.2f}"
    )


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, …; empty if it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []
