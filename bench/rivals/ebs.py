# A plugin for nbdkit that reads a snapshot through boto3, as one would write it in an afternoon: the listing at the
# start, one GetSnapshotBlock for each block that is read. Read-ahead and cache are nbdkit's own filters.
#
#   nbdkit --filter=readahead --filter=cache python ebs.py endpoint=URL snapshot=snap-ID cache-min-block-size=512K
import boto3
import nbdkit
from botocore.config import Config

API_VERSION = 2
BLOCK_BYTES = 524288
settings = {}
tokens = {}
size_bytes = 0
client = None


def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL


def config(key, value):
    settings[key] = value


def after_fork():
    global client, size_bytes
    retries = {"mode": "adaptive", "max_attempts": 20}
    client = boto3.client(
        "ebs",
        endpoint_url=settings["endpoint"],
        config=Config(max_pool_connections=64, retries=retries),
    )
    more = {}
    while True:
        page = client.list_snapshot_blocks(SnapshotId=settings["snapshot"], MaxResults=10000, **more)
        size_bytes = page["VolumeSize"] << 30
        for block in page["Blocks"]:
            tokens[block["BlockIndex"]] = block["BlockToken"]
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}


def open(readonly):
    return 1


def get_size(handle):
    return size_bytes


def can_write(handle):
    return False


def pread(handle, buf, offset, flags):
    at = 0
    while at < len(buf):
        index, start = divmod(offset + at, BLOCK_BYTES)
        count = min(len(buf) - at, BLOCK_BYTES - start)
        token = tokens.get(index)
        if token is None:
            buf[at : at + count] = bytes(count)
        else:
            answer = client.get_snapshot_block(
                SnapshotId=settings["snapshot"], BlockIndex=index, BlockToken=token
            )
            buf[at : at + count] = answer["BlockData"].read()[start : start + count]
        at += count
