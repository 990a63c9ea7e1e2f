"""The name under which pytest finds the plugin: ``pytest_plugins = ["reactor.testing.plugin"]``.

`reactor.testing.pytest.plugin` documents and defines it.
"""

pytest_plugins = ["reactor.testing.pytest.plugin"]
