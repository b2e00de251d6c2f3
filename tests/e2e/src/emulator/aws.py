# Asks cli.py to run the AWS CLI with these arguments, here.
import json
import os
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
env = {n: v for n, v in os.environ.items() if n.startswith("AWS_")}
# Version 1 of the CLI has old host names for some services. They take precedence over the variable, not over the argument.
args = ["--endpoint-url", env["AWS_ENDPOINT_URL"], *sys.argv[2:]]
asked = {"service": sys.argv[2], "args": args, "env": env}
socket.send_fds(connection, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
answer = connection.recv(1)
sys.exit(answer[0] if answer else 70)
