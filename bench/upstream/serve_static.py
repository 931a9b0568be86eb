"""A formation: nginx on $PORT, with a small JSON document and a large file, on the cores of the load."""

import json
import os
from pathlib import Path

CONFIG = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log stderr warn;
user {user};
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    sendfile on;
    sendfile_max_chunk 1m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location = /small {{ return 200 '{small}'; }}
        location = /v1/health {{ return 200 '{{}}'; }}
        location = /large {{ default_type application/octet-stream; alias {directory}/large; }}
    }}
}}
"""


def small(size: int = 200) -> str:
    """Make a JSON document of that many bytes."""
    empty = json.dumps({"message": ""})
    return json.dumps({"message": "m" * (size - len(empty))})


def main() -> None:
    directory = Path(os.environ["BENCH_DIRECTORY"])
    with (directory / "large").open("wb") as file:
        file.truncate(int(os.environ["BENCH_BULK"]))
    os.sched_setaffinity(0, map(int, os.environ["BENCH_CORES"].split(",")))
    user = "root" if os.geteuid() == 0 else "nobody"
    config = directory / "nginx.conf"
    config.write_text(CONFIG.format(directory=directory, port=os.environ["PORT"], small=small(), user=user))
    os.execv(os.environ["BENCH_NGINX"], ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(config)])


if __name__ == "__main__":
    main()
