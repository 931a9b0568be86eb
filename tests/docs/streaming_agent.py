"""An agent that a proxy in front must not spoil: a stream that waits in its middle, and a WebSocket."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

go_on = threading.Event()


class Agent(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/ws":
            self.converse()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if self.path == "/go-on":
            go_on.set()
        if self.path == "/stream":
            self.wfile.write(b"data: first\n\n")
            asked = go_on.wait(20)
            self.wfile.write(b"data: last\n\n" if asked else b"data: nobody saw the first one\n\n")

    def converse(self) -> None:
        """Answer a WebSocket: what comes goes back, until it is closed."""
        websocket = WSConnection(ConnectionType.SERVER)
        head = self.requestline + "\r\n" + str(self.headers).replace("\n", "\r\n")
        websocket.receive_data(head.encode())
        while True:
            for event in websocket.events():
                if isinstance(event, Request):
                    self.wfile.write(websocket.send(AcceptConnection()))
                elif isinstance(event, TextMessage):
                    self.wfile.write(websocket.send(TextMessage(f"you said {event.data}")))
                elif isinstance(event, CloseConnection):
                    self.wfile.write(websocket.send(event.response()))
                    self.close_connection = True
                    return
            websocket.receive_data(self.connection.recv(4096) or None)


if __name__ == "__main__":
    address = (os.environ["HOST"], int(os.environ["PORT"]))
    ThreadingHTTPServer(address, Agent).serve_forever()
