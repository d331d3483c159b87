"""Processes that encode when told to: an encoder of trimseek, or a peer in its own environment.

Runs without trimseek installed, as the peers' environment cannot hold it (sentence-transformers'
backends need transformers 4 and with it an older huggingface-hub than trimseek's):

    PYTHONPATH=.../eval python -m workers NAME '{"checkpoint": ..., ...}'

One JSON object a line in, one out; ``workers.loop`` says which.
"""
