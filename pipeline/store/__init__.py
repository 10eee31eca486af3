"""The feature store: a folder of HDF5 shards and `store.json`, for one encoder and one data set.

    store = FeatureStore.open(Path("features/sample/sample-clip"))
    store["clip_7"]                     # [T, D] float16
    rows, offsets = store.load(ids)     # at disk speed: video i has rows[offsets[i]:offsets[i + 1]]

    python -m pipeline.store {ls,verify,import,export} …

shard.py knows the files of rows, index.py `store.json`, reader.py reads rows in bulk, verify.py tests a store,
exchange.py brings published feature files in and ours out.
"""

from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import SCHEMA, Rows, Shard, read_shard, shard_name, shard_of, write_shard
from pipeline.store.store_file import INDEX, write_index

__all__ = ["INDEX", "SCHEMA", "FeatureStore", "Rows", "Shard", "read_shard", "shard_name", "shard_of", "write_index",
           "write_shard"]
