"""Commits of a disk: through the command line, or as that does it, through the server's control socket, which is quicker."""

import json
import os
import socket
import subprocess
import threading

# A path of a socket has at most so many bytes.
SOCKET_PATH_MAX = 107


class CliCommit:
    def __init__(self, command, env):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        )

    def result(self, wait):
        """The snapshot, whether it was an earlier commit that was finished, and what went wrong."""
        if self.process.poll() is None and not wait:
            self.process.kill()
        out, error = self.process.communicate()
        if self.process.returncode != 0:
            return None, False, error or "killed"
        return out.strip(), "broken off" in error, None


class SocketCommit:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.answer = {"error": "the server went away"}
        request = {"command": "commit", "wishes": {}, "live": True, "noWait": False}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            for line in self.socket.makefile("r"):
                message = json.loads(line)
                if "progress" not in message:
                    self.answer = message
        except (OSError, ValueError):
            pass

    def result(self, wait):
        if not wait:
            # What has been answered is known; of the rest nobody hears.
            self.thread.join(0.01)
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()
        self.socket.close()
        if "error" in self.answer:
            return None, False, self.answer["error"]
        return self.answer["result"]["snapshotId"], self.answer["result"]["wasResumed"], None


def begin_commit(command, env, control, by_cli):
    if by_cli or len(os.fsencode(control)) > SOCKET_PATH_MAX:
        return CliCommit(command, env)
    return SocketCommit(control)
