"""TLS in front of a service that has none: the packaged Valkey is built without."""

import contextlib
import selectors
import socket
import ssl
import threading

from streams.local.process import LOOPBACK

BUFFER = 65_536


class TlsProxy:
    """Ends TLS and passes the bytes on, a thread for each connection; a context manager."""

    def __init__(self, to_port, certificate):
        self._to = (LOOPBACK, to_port)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        # Whatever ends a connection, the client sees: that is what its tests are about.
        with (
            contextlib.suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) as near,
            socket.create_connection(self._to) as server,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(near, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, near)
            while _passed_on(ready):
                pass


def _passed_on(ready):
    """Pass on what has come; False where a side has closed."""
    for key, _ in ready.select():
        data = key.fileobj.recv(BUFFER)
        if not data:
            return False
        while isinstance(key.fileobj, ssl.SSLSocket) and key.fileobj.pending():
            data += key.fileobj.recv(BUFFER)
        key.data.sendall(data)
    return True
