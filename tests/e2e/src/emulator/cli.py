# The AWS CLI, loaded once: most of the time of an `aws` is its start. Each call runs the CLI's own `main` in a process of its own,
# with the caller's arguments, variables, output and error output. It ends with its input.
import json
import os
import select
import signal
import socket
import sys

import awscli.clidriver
import botocore.exceptions
import loopback  # noqa: F401

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
driver = awscli.clidriver.create_clidriver()
warmed = set()


def warm(service):
    """Reads what a service's calls need, so that each of them finds it read."""
    try:
        driver.session.create_client(
            {"s3api": "s3"}.get(service, service), "us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
    except botocore.exceptions.BotoCoreError:
        pass
    warmed.add(service)


def call(connection, asked, handles):
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(asked["env"])
    try:
        code = driver.main(asked["args"])
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code or 0]))


print("ready", flush=True)
while listener in select.select([listener, sys.stdin], [], [])[0]:
    connection, _ = listener.accept()
    message, handles, _, _ = socket.recv_fds(connection, 1 << 17, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(1 << 17)
    asked = json.loads(message)
    if asked["service"] not in warmed:
        warm(asked["service"])
    if os.fork() == 0:
        call(connection, asked, handles)
        os._exit(0)
    for handle in handles:
        os.close(handle)
    connection.close()
