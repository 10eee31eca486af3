"""The parts of a stage's work: done here one after the other, or side by side by the workers of a dask cluster.

engine.py is what stages use; dask_engine.py is the only module that imports dask. saved_parts.py keeps the results of
parts, so that a run that was killed goes on.
"""
