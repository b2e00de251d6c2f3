# The CLI puts the account's number before the host of some calls, as AWS has it; no resolver knows that name here.
import socket

resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: resolve(
    "127.0.0.1" if host.endswith(".127.0.0.1") else host, *rest, **more
)
