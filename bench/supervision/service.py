"""A service that is up as soon as a Python program can be: answers every request with its pid."""

import os
import socket

BODY = str(os.getpid()).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

with socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=128) as listener:
    while True:
        client, _ = listener.accept()
        with client:
            client.settimeout(5)
            try:
                client.recv(65536)
                client.sendall(ANSWER)
            except OSError:
                continue
