"""From videos to a feature store: decode → prepare → batch → encode → write, all at the same time.

run.py has what callers use. shard_maker.py is the heart: threads each drive a decoder process and prepare its frames
(reading.py) while the main thread encodes batches that mix videos (batching.py) and writes shards (shards.py). A row
depends on its frame alone, so neither the number of workers nor a kill changes a byte: what earlier runs had finished
is taken over, the rest is encoded. With a cluster the same is done by several processes, a shard a part of the work
(shard_worker.py, pipeline/workers). imported.py makes a store of features that somebody else has encoded.
"""
