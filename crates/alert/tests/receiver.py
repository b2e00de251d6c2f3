"""Receivers that are not written with our libraries: `receiver.py http|smtp ANSWERS [CERT KEY]`.

Prints the port, then one JSON line per request or mail. ANSWERS is a comma list, the last one repeats: HTTP statuses
(`503`, `429:2` with Retry-After) or SMTP replies to the end of DATA (`451`, `250`).
"""
import base64
import email
import email.policy
import http.server
import json
import socket
import ssl
import sys

answers = sys.argv[2].split(",")


def next_answer():
    return answers.pop(0) if len(answers) > 1 else answers[0]


def say(value):
    print(json.dumps(value), flush=True)


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        say({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body.decode()})
        status, _, after = next_answer().partition(":")
        text = b'{"said":"status %s"}' % status.encode()
        self.send_response(int(status))
        if after:
            self.send_header("Retry-After", after)
        if status == "302":
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def smtp_session(conn, context):
    state = {"tls": False, "auth": None, "to": []}
    lines = conn.makefile("rwb", buffering=0)

    def reply(text):
        lines.write(text.encode() + b"\r\n")

    reply("220 receiver ESMTP")
    while True:
        line = lines.readline().decode().rstrip("\r\n")
        verb = line.split(" ")[0].upper()
        if verb == "EHLO":
            starttls = ["STARTTLS"] if context and not state["tls"] else []
            features = ["receiver"] + starttls + ["AUTH PLAIN", "8BITMIME"]
            for f in features[:-1]:
                reply("250-" + f)
            reply("250 " + features[-1])
        elif verb == "STARTTLS" and context:
            reply("220 go on")
            conn = context.wrap_socket(conn, server_side=True)
            lines = conn.makefile("rwb", buffering=0)
            state["tls"] = True
        elif verb == "AUTH":
            state["auth"] = base64.b64decode(line.split(" ")[2]).decode()
            reply("235 ok" if state["auth"].endswith("\0secret") else "535 5.7.8 wrong password")
        elif verb == "MAIL":
            state["from"] = line
            reply("250 ok")
        elif verb == "RCPT":
            if "nobody@" in line:
                reply("550 5.1.1 no such user")
            else:
                state["to"].append(line)
                reply("250 ok")
        elif verb == "DATA":
            reply("354 go on")
            data = b""
            while not data.endswith(b"\r\n.\r\n"):
                data += lines.readline()
            code = next_answer()
            reply(code + (" 2.0.0 Ok: queued as A1B2C3" if code == "250" else " 4.3.0 not now"))
            # Raw headers too: a header that was smuggled in would show here.
            mail = email.message_from_bytes(data[:-3].replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
            say({
                **state,
                "code": code,
                "subject": mail["subject"],
                "id": mail["message-id"],
                "headers": sorted(k.lower() for k in mail.keys()),
                "text": mail.get_body(("plain",)).get_content(),
                "html": mail.get_body(("html",)).get_content(),
            })
        elif verb == "QUIT":
            reply("221 bye")
            return
        elif not line:
            return
        else:
            reply("502 what?")


if sys.argv[1] == "http":
    server = http.server.HTTPServer(("127.0.0.1", 0), Http)
    print(server.server_port, flush=True)
    server.serve_forever()
else:
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        conn, _ = listener.accept()
        try:
            smtp_session(conn, context)
        except (OSError, ssl.SSLError) as e:
            say({"error": str(e)})
        finally:
            conn.close()
