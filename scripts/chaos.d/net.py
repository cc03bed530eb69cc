"""Breaks connections from outside: duplicates sockets of a running process (pidfd_getfd) and shuts them down."""

import ctypes
import os
import socket
import time

from cluster import names
from faults import fault

PIDFD_OPEN, PIDFD_GETFD = 434, 438
ESTABLISHED = "01"
LIBC = ctypes.CDLL(None, use_errno=True)


def connections(pid, port):
    """File descriptors of a process's connections that have `port` at either end."""
    inodes = set()
    with open(f"/proc/{pid}/net/tcp") as table:
        for line in list(table)[1:]:
            cells = line.split()
            ends = {int(end.split(":")[1], 16) for end in cells[1:3]}
            if cells[3] == ESTABLISHED and port in ends:
                inodes.add(f"socket:[{cells[9]}]")
    for descriptor in names(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                yield int(descriptor)
        except OSError:
            continue


def break_off(process, port):
    """Shuts down a process's connections with `port`; returns their number."""
    pidfd = LIBC.syscall(PIDFD_OPEN, process.child.pid, 0)
    if pidfd < 0:
        return 0
    count = 0
    try:
        for descriptor in connections(process.child.pid, port):
            taken = LIBC.syscall(PIDFD_GETFD, pidfd, descriptor, 0)
            if taken < 0:
                continue
            with socket.socket(fileno=taken) as connection:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                    count += 1
                except OSError:
                    pass
    except OSError:
        pass
    finally:
        os.close(pidfd)
    return count


def keep_breaking(case, pairs, seconds, every):
    """Breaks the connections of each (process, port) repeatedly; returns how many."""
    broken, end = 0, time.monotonic() + seconds
    while time.monotonic() < end and not case.ended():
        broken += sum(break_off(process, port) for process, port in pairs if process.alive())
        time.sleep(every)
    return broken


@fault("net_shuffle_resets", "network", "connections between executors break off, again and again")
def net_shuffle_resets(case):
    case.submit()
    case.some_time(0.5)
    executors = case.cluster.alive()
    pairs = [(one, other.port) for one in executors for other in executors if one is not other]
    case.moment += f", {keep_breaking(case, pairs, 2, 0.05)} connections"


@fault("net_status_lost", "network", "an executor's reports to the scheduler are lost for a second")
def net_status_lost(case):
    case.submit()
    case.some_time(0.7)
    pairs = [(case.victim(), case.cluster.scheduler_port)]
    case.moment += f", {keep_breaking(case, pairs, 1, 0.005)} connections"


@fault("net_partition", "network", "an executor and the scheduler do not reach each other, others do")
def net_partition(case):
    case.submit()
    case.some_time(0.7)
    victim = case.victim()
    pairs = [(victim, case.cluster.scheduler_port), (case.cluster.scheduler, victim.grpc_port)]
    case.moment += f", {keep_breaking(case, pairs, 6, 0.005)} connections"
