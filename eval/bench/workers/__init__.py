"""Processes that encode on request: an encoder of trimseek, or a peer in the peers' environment.

This package runs without trimseek, which the peers' environment cannot hold (sentence-transformers'
backends need transformers 4 and with it an older huggingface-hub than trimseek's):

    PYTHONPATH=.../eval/bench python -m workers NAME '{"folder": ..., ...}'

``backends.Setting`` has the fields of the last argument. A request is a line of JSON on stdin, an
answer a line on stdout: ``workers.loop`` describes both.
"""
