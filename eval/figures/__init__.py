"""The measurements that the documentation publishes, in ``results``; docs/results.md lists them."""
