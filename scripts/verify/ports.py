"""A port of loopback that nobody listens at; run as a program it prints one."""

import itertools
import os
import socket

# Below those that the kernel gives to clients and to listeners of port 0: nobody takes one between its choice and its use.
FIRST_PORT, PORTS = 28100, 1900
numbers = itertools.count(os.getpid() * 101)


def free_port():
    for number in itertools.islice(numbers, 2 * PORTS):
        port = FIRST_PORT + number % PORTS
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no port is free")


if __name__ == "__main__":
    print(free_port())
