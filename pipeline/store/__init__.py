"""The feature store: a folder of HDF5 shards and `store.json`, for one encoder and one data set.

    store = FeatureStore.open(Path("features/sample/sample-clip"))
    store["clip_7"]                     # [T, D] float16
    rows, offsets = store.load(ids)     # at disk speed: video i has rows[offsets[i]:offsets[i + 1]]

    python -m pipeline.store {ls,verify,import,export} …

feature_store.py reads a store, with reader.py for rows in bulk; shard.py knows the files of rows, store_file.py
`store.json`; folder.py is for those who write a store, known_rows.py keeps what was encoded once; verify.py checks a
store; exchange.py imports published feature files (read by feature_files.py) and exports ours.
"""
