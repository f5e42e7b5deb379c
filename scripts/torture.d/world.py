"""The server, the emulator and the folders that outlive them."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import nbd

from commits import begin_commit
from life import Life
from model import Model, verify
from unsynced import cut_power

# The others are asked for at the control socket, as the command line does it.
CLI_SHARE = 0.1
STARTS_MAX = 10
HOOK = pathlib.Path(__file__).with_name("unsynced.mjs")

def connect_to(path, name, server, deadline=600):
    uri = f"nbd+unix:///{name}?socket={path}"
    end = time.monotonic() + deadline
    while True:
        handle = nbd.NBD()
        try:
            handle.connect_uri(uri)
            return handle
        except nbd.Error:
            if time.monotonic() > end or server.poll() is not None:
                raise
            time.sleep(0.02)


class World:
    def __init__(self, options):
        self.options = options
        self.dice = random.Random(options.seed)
        self.model = Model()
        self.dir = tempfile.mkdtemp(prefix="torture-", dir=options.dir)
        self.socket = os.path.join(self.dir, "s")
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.server = None
        self.to_check = None
        self.commits = set()
        self.cancelled = 0
        self.power_cuts = 0
        self.refusals = 0
        self.lost_sectors = 0
        self.is_power_cut = False
        self.storage = os.path.join(self.dir, "emulator")
        os.mkdir(self.storage)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.start_emulator()
        self.env = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "emulator",
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_REGION": "us-east-1",
        }
        state = os.path.join(self.dir, "state")
        self.fork = os.path.join(state, "forks", "d")
        self.unsynced = os.path.join(self.dir, "unsynced")
        self.common = ["--state-dir", state, "--endpoint-url", f"http://{self.address}"]

    def start_emulator(self):
        options = self.options
        arguments = ["--error-rate", "0.05", "--drop-rate", "0.02", "--put-rate", "400", "--seed", str(options.seed)]
        command = [*options.snapnbd, "emulator", "serve", "--dir", self.storage, "--listen", self.address, *arguments]
        self.emulator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.emulator.stdout.readline()

    def cancel_pending(self):
        """What is pending when the emulator is killed ends in the state `error`."""
        self.emulator.kill()
        self.emulator.wait()
        self.start_emulator()
        self.cancelled += 1

    def start(self):
        exports = ["d=blank:1GiB"]
        if self.to_check is not None:
            exports.append(f"s={self.to_check[0]}")
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        command = [*self.options.snapnbd, "serve", *exports, "--listen", f"unix:{self.socket}", *self.common]
        if self.dice.random() < 0.2:
            command += ["--durability", "remote"]
        self.is_power_cut = self.dice.random() < self.options.power_cuts
        env = self.env
        if self.is_power_cut:
            env = {**env, "NODE_OPTIONS": f"--import {HOOK.as_uri()}", "TORTURE_UNSYNCED": self.unsynced}
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=env)

    def kill(self):
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        if self.is_power_cut:
            lost, _ = cut_power(self.unsynced, self.fork, self.dice)
            self.power_cuts += 1
            self.lost_sectors += lost

    def commit_command(self):
        return [*self.options.snapnbd, "commit", "d", "--live", *self.common]

    def ask_commit(self):
        by_cli = self.dice.random() < CLI_SHARE
        return begin_commit(self.commit_command(), self.env, os.path.join(self.fork, "control.sock"), by_cli)

    def begin_commit(self):
        self.model.recording = {sector: list(versions) for sector, versions in self.model.allowed.items()}
        return self.ask_commit()

    def commit_now(self):
        snapshot, was_resumed, error = self.ask_commit().result(wait=True)
        if snapshot is None:
            raise SystemExit(f"a commit failed: {error}")
        self.commits.add(snapshot)
        return snapshot, was_resumed

    def end_commit(self, commit, wait):
        snapshot, was_resumed, _ = commit.result(wait)
        if snapshot is None or snapshot in self.commits:
            return
        self.commits.add(snapshot)
        if not was_resumed:
            # Anything between the last flush before it and the last write until now.
            self.to_check = (snapshot, self.model.recording)

    def start_and_connect(self):
        """A server that finds the service too slow says so and ends: whoever runs it starts it again."""
        for _ in range(STARTS_MAX):
            self.start()
            try:
                return [connect_to(self.socket, "d", self.server) for _ in range(3)]
            except nbd.Error:
                if self.server.poll() is None:
                    raise
                self.refusals += 1
        raise SystemExit(f"the server does not start: see {self.log.name}")

    def one_round(self, number):
        handles = self.start_and_connect()
        verify(handles[0], self.model)
        if self.to_check is not None:
            verify(connect_to(self.socket, "s", self.server), self.model, self.to_check[1])
            self.to_check = None
        operations = self.dice.randint(5, self.options.operations)
        if self.dice.random() < 0.15:
            self.cancel_pending()
        Life(self, handles).run(operations)
        print(f"round {number}: {operations} operations, {len(self.commits)} commits", flush=True)

    def finish(self):
        """The disk as it is, committed by another process, is what the model says; and there is nothing beside it."""
        for _ in range(3):
            command = [*self.options.snapnbd, "commit", "d", *self.common]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env, text=True)
            if done.returncode != 0:
                raise SystemExit(f"the last commit failed: {done.stderr}")
        self.to_check = (done.stdout.strip(), None)
        self.start_and_connect()
        verify(connect_to(self.socket, "s", self.server), self.model)
        self.kill()

    def close(self, keep):
        for process in [self.server, self.emulator]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.log.close()
        if keep:
            print(f"The folder is kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir)
